"""Each setting of the program is reachable from values, and the program reads what the chart writes.

The list of settings is the program's own: its manual's page of settings, which its tests hold against its table.
"""

import functools
import os
import re
import subprocess
import tempfile
import tomllib
import unittest
from pathlib import Path

import chart
from chart import HELMS, SECRETS, over

PROGRAM = os.environ["FANFARE_BIN"]
# Settings with a value of their own: what is set, and what the node's environment then has.
ELSEWHERE = {
    "listen": ({"containerPorts": {"client": 4321}}, "FANFARE_LISTEN", "0.0.0.0:4321"),
    "admin_listen": ({"listenAddress": "::", "containerPorts": {"admin": 4322}}, "FANFARE_ADMIN_LISTEN", "[::]:4322"),
    "redis_url": ({"redis": {"existingSecret": "a", "existingSecretKey": "b"}}, "FANFARE_REDIS_URL", ("a", "b")),
    "database_url": ({"database": {"existingSecret": "c", "existingSecretKey": "d"}}, "FANFARE_DATABASE_URL", ("c", "d")),
    "secret_key_base": ({"secretKeyBase": {"existingSecret": "e", "existingSecretKey": "f"}}, "FANFARE_SECRET_KEY_BASE", ("e", "f")),
    "auth.jwt_secret": ({"jwtSecret": {"existingSecret": "g", "existingSecretKey": "h"}}, "FANFARE_AUTH__JWT_SECRET", ("g", "h")),
    "migrate": ({"migrations": {"mode": "none"}}, "FANFARE_MIGRATE", "false"),
    "node_name": ({"extraEnv": [{"name": "FANFARE_NODE_NAME", "value": "n"}]}, "FANFARE_NODE_NAME", "n"),
}
# A value for settings whose default the manual gives in words.
SAMPLES = {
    "anonymous": "allow",
    "auth.issuer": "https://issuer.example.com",
    "auth.audience": "players",
    "auth.public_key_file": "/etc/keys/jwt.pem",
    "auth.jwks_file": "/etc/keys/jwks.json",
    "auth.jwks_url": "https://issuer.example.com/jwks.json",
    "auth.jwks_ca_file": "/etc/keys/issuer.pem",
    "broker.ca_file": "/etc/keys/ca.pem",
    "transport.trusted_proxies": ["10.0.0.0/8", "192.168.0.0/16"],
}
# Channels that have every field between them.
CHANNELS = [
    {"topic": "room:*", "kind": "relay", "presence": True, "anonymous": "allow", "events": ["new_message", "cursor"]},
    {"topic": "score:*", "kind": "score", "persist": "behind", "history": 25, "auto_create": False,
     "keep_for": "30d", "keep_records": 1000},
]


@functools.cache
def tables():
    """Returns the rows of each section of the page of settings: cells without their marks, by heading."""
    found, section = {}, None
    for line in (chart.PROJECT / "src" / "manual" / "settings.md").read_text().splitlines():
        heading = re.match(r"## (?:`\[+([a-z_]+)\]+`|The node)", line)
        if heading:
            section = heading.group(1) or ""
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(section, []).append(cells)
    return found


def settings():
    """Goes through every setting: its path and its default as the manual gives it."""
    for section, rows in tables().items():
        if section == "channels":
            continue
        for cells in rows:
            name = cells[0].strip("`")
            default = cells[3 if section == "" else 2]
            yield f"{section}.{name}" if section else name, default


def sample(path, default):
    """Returns a value that the setting allows: its default, as a person would write it in values."""
    if path in SAMPLES:
        return SAMPLES[path]
    text = re.fullmatch(r"`([^`]+)`", default)
    if text is None:
        raise AssertionError(f"{path} has no default to write: give it a sample in SAMPLES or ELSEWHERE")
    word = text.group(1)
    if re.fullmatch("[0-9]+", word):
        return int(word)
    return {"true": True, "false": False}.get(word, word)


def nested(path, value):
    """Writes a setting as the values under config."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def read_by_program(toml):
    """Lets the program read a configuration; returns its exit code and what it says."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fanfare.toml"
        file.write_text(toml)
        # The settings are read first (else: code 2); then nothing listens on port 1 (code 1).
        done = subprocess.run(
            [PROGRAM, "probe", "--url", "ws://127.0.0.1:1/socket"],
            env={"FANFARE_CONFIG": str(file)},
            capture_output=True,
            text=True,
        )
    return done.returncode, done.stderr


class Settings(unittest.TestCase):
    def accepted(self, toml):
        code, said = read_by_program(toml)
        self.assertEqual(code, 1, said)
        self.assertIn("connect failed", said)

    def test_the_page_has_the_settings(self):
        paths = [path for path, _ in settings()]
        self.assertGreater(len(paths), 60)
        self.assertLessEqual({"listen", "limits.connections", "store.lanes"}, set(paths))

    def test_each_is_set_by_its_name_in_config_and_the_program_takes_it(self):
        for path, default in settings():
            if path in ELSEWHERE:
                continue
            with self.subTest(setting=path):
                value = sample(path, default)
                items = chart.by_helm4(over(SECRETS, {"config": nested(path, value)}))
                place = tomllib.loads(chart.settings_file(items))
                for name in path.split("."):
                    place = place[name]
                self.assertEqual(place, value)
                self.accepted(chart.settings_file(items))

    def test_all_are_set_together_on_both_helms(self):
        config = over(*(nested(p, sample(p, d)) for p, d in settings() if p not in ELSEWHERE))
        for helm, render in HELMS.items():
            with self.subTest(helm=helm):
                toml = chart.settings_file(render(over(SECRETS, {"config": config})))
                self.assertEqual(tomllib.loads(toml), config)
                self.accepted(toml)

    def test_those_with_a_value_of_their_own_reach_the_environment(self):
        paths = {path for path, _ in settings()}
        for path, (values, name, wanted) in ELSEWHERE.items():
            with self.subTest(setting=path):
                self.assertIn(path, paths)
                pod = chart.gateway(chart.by_helm4(over(SECRETS, values)))
                entry = {e["name"]: e for e in pod["containers"][0]["env"]}[name]
                if isinstance(wanted, tuple):
                    reference = entry["valueFrom"]["secretKeyRef"]
                    self.assertEqual((reference["name"], reference["key"]), wanted)
                else:
                    self.assertEqual(entry["value"], wanted)

    def test_each_field_of_a_channel_reaches_the_program(self):
        fields = {cells[0].strip("`") for cells in tables()["channels"]}
        self.assertEqual(fields, {name for channel in CHANNELS for name in channel})
        for helm, render in HELMS.items():
            with self.subTest(helm=helm):
                toml = chart.settings_file(render(over(SECRETS, {"config": {"channels": CHANNELS}})))
                self.assertEqual(tomllib.loads(toml)["channels"], CHANNELS)
                self.accepted(toml)

    def test_the_files_of_every_set_are_accepted(self):
        for name, values in chart.sets().items():
            with self.subTest(values=name):
                self.accepted(chart.settings_file(chart.by_helm4(values)))

    def test_a_setting_that_does_not_exist_is_refused_by_the_program(self):
        for config, said in [
            ({"limits": {"conections": 1}}, "limits.conections"),
            ({"limit": {"connections": 1}}, "[limit]"),
            ({"logs": "json"}, "logs"),
        ]:
            with self.subTest(config=config):
                code, line = read_by_program(chart.settings_file(chart.by_helm4(over(SECRETS, {"config": config}))))
                self.assertEqual(code, 2, line)
                self.assertIn(said, line)


class Toml(unittest.TestCase):
    def test_values_are_written_as_they_are(self):
        for value in [
            "plain",
            'quotes " and \\ and <&>',
            "lines\nand\ttabs",
            "é, 日本, 🎺",
            "",
            "1e6",
            0,
            1_000_000,
            9_007_199_254_740_991,
            -5,
            1.5,
            0.001,
            True,
            False,
            [],
            ["a", 'b"c'],
            [1, 2],
        ]:
            for helm, render in HELMS.items():
                with self.subTest(value=value, helm=helm):
                    config = {"config": {"top": value, "section": {"key": value}, "channels": [{"topic": "t", "kind": "score", "k": value}]}}
                    read = tomllib.loads(chart.settings_file(render(over(SECRETS, config))))
                    for found in (read["top"], read["section"]["key"], read["channels"][0]["k"]):
                        self.assertEqual((found, type(found)), (value, type(value)))

    def test_null_takes_a_default_of_the_chart_away(self):
        for helm, render in HELMS.items():
            with self.subTest(helm=helm):
                config = {"config": {"log": None, "drain": None, "limits": {"connections": None, "topics": 5}}}
                self.assertEqual(tomllib.loads(chart.settings_file(render(over(SECRETS, config)))), {"limits": {"topics": 5}})


if __name__ == "__main__":
    unittest.main()
