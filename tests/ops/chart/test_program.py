"""The pods as they are rendered, run here: what they start with, `helm test`, migrations, leaving.

The program itself is run with the environment and arguments of the objects; only addresses and mounts are of this machine.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import chart  # noqa: E402
from chart import ONE_NODE, containers, gateway, over, pods  # noqa: E402
from lib.process import free_port  # noqa: E402

PROGRAM = os.environ["FANFARE_BIN"]
# What the image sets, as deploy/Dockerfile has it: a pod that serves nobody must not inherit it.
IMAGE = {"FANFARE_LISTEN": "0.0.0.0:4000", "FANFARE_ADMIN_LISTEN": "0.0.0.0:4001"}
SECRET = "0123456789abcdef0123456789abcdef"


def environment(items, container, folder):
    """Resolves a container's environment: Secrets of the chart, else SECRET; the configuration in a folder."""
    secrets = {o["metadata"]["name"]: o["data"] for o in items if o["kind"] == "Secret"}
    file = Path(folder) / "fanfare.toml"
    file.write_text(chart.settings_file(items))
    resolved = dict(IMAGE)
    for entry in container["env"]:
        source = entry.get("valueFrom", {})
        if "value" in entry:
            value = entry["value"]
        elif "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            own = secrets.get(reference["name"], {}).get(reference["key"])
            value = base64.b64decode(own).decode() if own else SECRET
        else:
            value = "demo-fanfare-0"
        resolved[entry["name"]] = value.replace("/etc/fanfare/fanfare.toml", str(file)).replace("///var/lib/fanfare/", f"//{folder}/")
    return resolved


def container_of(items, name):
    """Returns the one container of a name, among all pods."""
    (found,) = [c for _, pod in pods(items) for c in containers(pod) if c["name"] == name]
    return found


def run(items, container, folder, args=None, **changed):
    """Runs a container to its end; returns its code and output."""
    done = subprocess.run(
        [PROGRAM, *(args or container["args"])],
        env={**environment(items, container, folder), **changed},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@contextmanager
def node(items, folder):
    """Runs the node until the block ends; yields its process and its listening line once it listens."""
    container = gateway(items)["containers"][0]
    process = subprocess.Popen(
        [PROGRAM, *container["args"]],
        env=environment(items, container, folder),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("{") and json.loads(line)["message"] == "listening":
                break
        else:
            raise AssertionError("the node ended: " + "".join(said))
        yield process, json.loads(said[-1])
    finally:
        process.kill()
        process.communicate()


def status(port, path):
    """Asks a path of a port; returns the status."""
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def on_this_machine(values):
    """Renders with free ports of the loopback; returns the objects and the ports of clients and operators."""
    client, admin = free_port(), free_port()
    local = {
        "listenAddress": "127.0.0.1",
        "containerPorts": {"client": client, "admin": admin},
        "config": {"anonymous": "deny", "drain": {"wait": 0, "spread": 0}},
    }
    return chart.by_helm4(over(values, local)), client, admin


class Pods(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def test_the_node_starts_answers_its_probes_and_leaves_by_sigterm(self):
        items, client, admin = on_this_machine(ONE_NODE)
        ports = {"client": client, "admin": admin}
        with node(items, self.folder) as (process, line):
            self.assertEqual((line["clients"], line["node"]), (f"127.0.0.1:{client}", "demo-fanfare-0"))
            container = gateway(items)["containers"][0]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container[probe]["httpGet"]
                self.assertEqual(status(ports[asked["port"]], asked["path"]), 200, probe)
            self.assertEqual(status(admin, "/metrics"), 200)
            self.assertEqual(status(client, "/metrics"), 404)
            process.terminate()
            self.assertEqual(process.wait(timeout=30), 0)

    def test_helm_test_passes_on_a_node_and_only_with_its_secret(self):
        items, client, _ = on_this_machine(ONE_NODE)
        probe = container_of(items, "probe")
        args = [arg.replace("demo-fanfare:4000", f"127.0.0.1:{client}") for arg in probe["args"]]
        self.assertNotEqual(args, probe["args"])
        with node(items, self.folder):
            self.assertEqual(run(items, probe, self.folder, args)[0], 0)
            code, said = run(items, probe, self.folder, args, FANFARE_SECRET_KEY_BASE=SECRET[::-1])
            self.assertEqual(code, 1, said)
            guest = [arg for arg in args if not arg.startswith("--sub")]
            self.assertEqual(run(items, probe, self.folder, guest)[0], 1)
        self.assertEqual(run(items, probe, self.folder, args)[0], 1, "no node, and yet it passes")

    def test_the_container_that_migrates_makes_the_tables_for_a_node_that_does_not(self):
        values = over(ONE_NODE, {"database": {"url": "sqlite:///var/lib/fanfare/a.db"}, "migrations": {"mode": "initContainer"}})
        items, client, _ = on_this_machine(values)
        probe = container_of(items, "probe")
        join = ["probe", f"--url=ws://127.0.0.1:{client}/socket", "--sub=1", "--topic=chat_room:lobby"]
        with node(items, self.folder):
            code, said = run(items, probe, self.folder, join)
            self.assertEqual(code, 1, said)
        code, said = run(items, container_of(items, "migrate"), self.folder)
        self.assertEqual(code, 0, said)
        with node(items, self.folder):
            code, said = run(items, probe, self.folder, join)
            self.assertEqual(code, 0, said)

    def test_the_hook_needs_nothing_but_its_database(self):
        items = chart.by_helm4(chart.sets()["migrate-hook"])
        job = container_of(items, "migrate")
        self.assertEqual({e["name"] for e in job["env"]}, {"FANFARE_CONFIG", "FANFARE_DATABASE_URL", *IMAGE})
        database = {"FANFARE_DATABASE_URL": f"sqlite://{self.folder}/hook.db"}
        code, said = run(items, job, self.folder, **database)
        self.assertEqual(code, 0, said)
        self.assertTrue((Path(self.folder) / "hook.db").exists())


if __name__ == "__main__":
    unittest.main()
