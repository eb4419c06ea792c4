"""The image builds, is small and safe, and the compose stack comes up healthy and passes messages between its nodes.

Public images are pulled; where none can be, stand-ins of Debian's packages take their names.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
OUT = ROOT / "target" / "ops" / "image"
DOCKER = os.environ.get("DOCKER", "docker")
PROJECT = "fanfare-test"
SECRET = "an-image-under-test-signs-with-this-0123456789"
IMAGE_BYTES_MAX = 40_000_000
BASES = {
    "rust": "rust:1.95-bookworm",
    "redis": "redis:7.4-alpine",
    "postgres": "postgres:17-alpine",
    "haproxy": "haproxy:3.0-alpine",
    "prometheus": "prom/prometheus:v3.5.0",
}
# What no package of Debian has: without a registry the stack runs without it.
GRAFANA = "grafana/grafana:12.1.1"


def run(*command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def docker(*command, **options):
    return run(DOCKER, *command, **options)


def has(image):
    return docker("image", "inspect", image, check=False).returncode == 0


def pulled(image):
    return has(image) or docker("pull", "--quiet", image, check=False).returncode == 0


def debian():
    """A minimal Debian under its public name; without one there is nothing to build on."""
    if pulled("debian:bookworm-slim"):
        return
    try:
        made_of_packages()
    except (AssertionError, OSError) as why:
        raise unittest.SkipTest(f"no base image can be pulled, and none can be made: {why}") from why


def made_of_packages():
    if not shutil.which("debootstrap"):
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap")
    with tempfile.TemporaryDirectory() as tree:
        run("debootstrap", "--variant=minbase", "bookworm", tree)
        for settings in Path("/etc/apt/apt.conf.d").glob("99*"):
            shutil.copy(settings, f"{tree}/etc/apt/apt.conf.d/")
        with subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE) as archive:
            docker("import", "-", "debian:bookworm-slim", stdin=archive.stdout)
        if archive.returncode != 0:
            raise AssertionError("no archive of the tree")


def stand_in(target, image):
    """Builds an image of Debian's packages under a public name."""
    debian()
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copytree(HERE / "standins", context, dirs_exist_ok=True)
        (context / "postgres.sh").chmod(0o755)
        (context / "certificates").mkdir()
        for certificate in Path("/usr/local/share/ca-certificates").glob("*.crt"):
            shutil.copy(certificate, context / "certificates")
        (context / "toolchain").mkdir()
        if target == "rust":
            toolchain = Path(run("rustc", "--print", "sysroot").stdout.strip())
            for part in ("bin", "lib"):
                shutil.copytree(toolchain / part, context / "toolchain" / part, symlinks=True)
        docker("build", "--network", "host", "--target", target, "--tag", image, folder)


def compose(*command, **options):
    """Compose, as a plugin or as Debian has it; the latter knows no `name` in a file."""
    files = [ROOT / "deploy" / "compose.yaml", HERE / "override.yaml"]
    environment = {**os.environ, "FANFARE_PORT": "0", "PROMETHEUS_PORT": "0", "GRAFANA_PORT": "0"}
    if docker("compose", "version", check=False).returncode == 0:
        program = [DOCKER, "compose"]
    else:
        if not shutil.which("docker-compose"):
            run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "docker-compose")
        program = ["docker-compose"]
        text = files[0].read_text()
        plain = ROOT / "deploy" / ".compose-without-name.yaml"
        plain.write_text(re.sub(r"(?m)^name: .*\n", "", text))
        files[0] = plain
    try:
        arguments = [part for file in files for part in ("-f", str(file))]
        return run(*program, *arguments, "-p", PROJECT, *command, env=environment, **options)
    finally:
        (ROOT / "deploy" / ".compose-without-name.yaml").unlink(missing_ok=True)


def await_true(what, condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.2)


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        OUT.mkdir(parents=True, exist_ok=True)
        if not pulled(BASES["rust"]):
            stand_in("rust", BASES["rust"])
        docker("build", "--network", "host", "--file", "deploy/Dockerfile", "--tag", "fanfare", ".", cwd=ROOT)

    def started(self, *options):
        container = docker("run", "--detach", "--read-only", "--cap-drop", "ALL", *options, "fanfare").stdout.strip()
        self.addCleanup(docker, "rm", "--force", container)
        return container

    def state(self, container):
        return json.loads(docker("inspect", container).stdout)[0]["State"]

    def test_it_is_small_and_not_roots(self):
        described = json.loads(docker("image", "inspect", "fanfare").stdout)[0]
        size = described["Size"]
        (OUT / "size.json").write_text(json.dumps({"image_bytes": size}))
        print(f"image: {size / 1e6:.1f} MB")
        self.assertLess(size, IMAGE_BYTES_MAX)
        self.assertEqual(described["Config"]["User"], "65532:65532")
        self.assertIn("Healthcheck", described["Config"])
        shell = docker("run", "--rm", "--entrypoint", "/bin/sh", "fanfare", check=False)
        self.assertNotEqual(shell.returncode, 0, "there is a shell")

    def test_it_says_in_one_line_what_it_lacks(self):
        refused = docker("run", "--rm", "fanfare", check=False)
        self.assertEqual(refused.returncode, 2)
        self.assertEqual(len(refused.stderr.splitlines()), 1, refused.stderr)
        self.assertIn("FANFARE_SECRET_KEY_BASE", refused.stderr)

    def test_it_gets_healthy_and_leaves_when_told(self):
        container = self.started("--env", f"FANFARE_SECRET_KEY_BASE={SECRET}", "--env", "FANFARE_DATABASE_URL=sqlite::memory:")
        await_true("healthy", lambda: self.state(container)["Health"]["Status"] == "healthy")
        docker("stop", "--time", "30", container)
        self.assertEqual(self.state(container)["ExitCode"], 0)

    def test_sqlite_writes_to_the_volume_and_nowhere_else(self):
        container = self.started("--env", f"FANFARE_SECRET_KEY_BASE={SECRET}")
        await_true("healthy", lambda: self.state(container)["Health"]["Status"] == "healthy")
        with tempfile.TemporaryDirectory() as folder:
            docker("cp", f"{container}:/var/lib/fanfare/fanfare.db", folder)
            self.assertEqual((Path(folder) / "fanfare.db").read_bytes()[:15], b"SQLite format 3")


class Stack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        Image.setUpClass()
        for target, image in BASES.items():
            if target != "rust" and not pulled(image):
                stand_in(target, image)
        cls.services = ["balancer", "fanfare-1", "fanfare-2", "redis", "postgres", "prometheus"]
        if pulled(GRAFANA):
            cls.services.append("grafana")
        else:
            print(f"image: without Grafana: {GRAFANA} cannot be pulled, and Debian has no package of it")
        cls.addClassCleanup(compose, "down", "--volumes", "--timeout", "5", check=False)
        compose("up", "--detach", "--no-build", *cls.services)

    def container(self, service):
        return compose("ps", "--all", "-q", service).stdout.strip()

    def address(self, service, port):
        return compose("port", service, str(port)).stdout.strip()

    def health(self, service):
        state = json.loads(docker("inspect", self.container(service)).stdout)[0]["State"]
        return state.get("Health", {}).get("Status")

    def test_every_service_gets_healthy_and_the_nodes_see_each_other(self):
        for service in self.services:
            await_true(f"{service} is healthy", lambda: self.health(service) == "healthy")

        with self.subTest("a client joins through the balancer"):
            address = self.address("balancer", 4000)
            probe = docker(
                "run", "--rm", "--network", "host", "--env", f"FANFARE_SECRET_KEY_BASE={SECRET}", "fanfare",
                "probe", "--url", f"ws://{address}/socket", "--topic", "chat_room:lobby",
            )
            self.assertIn("ok ws://", probe.stdout)

        with self.subTest("the demo page is served"), urllib.request.urlopen(f"http://{address}/") as page:
            self.assertIn(b"<html", page.read().lower())

        with self.subTest("the operators' port is not"):
            for path in ("/metrics", "/status", "/readyz"):
                with self.assertRaises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(f"http://{address}{path}")
                self.assertEqual(refused.exception.code, 404, path)

        with self.subTest("Prometheus sees both nodes"):
            url = f"http://{self.address('prometheus', 9090)}/api/v1/query?query=count(fanfare_build_info)"

            def nodes():
                with urllib.request.urlopen(url) as answer:
                    result = json.load(answer)["data"]["result"]
                return result[0]["value"][1] if result else "0"

            await_true("two nodes are scraped", lambda: nodes() == "2")

        with self.subTest("a node that stops is left at once, and the rest goes on"):
            compose("stop", "--timeout", "40", "fanfare-1")
            state = json.loads(docker("inspect", self.container("fanfare-1")).stdout)[0]["State"]
            self.assertEqual(state["ExitCode"], 0)
            for _ in range(5):
                docker(
                    "run", "--rm", "--network", "host", "--env", f"FANFARE_SECRET_KEY_BASE={SECRET}", "fanfare",
                    "probe", "--url", f"ws://{address}/socket", "--topic", "chat_room:lobby",
                )


if __name__ == "__main__":
    unittest.main()
