"""A private cluster for one test: Redis, Postgres, nodes, Prometheus, on free loopback ports.

It never touches a server, a directory or a port that it did not make, and stops all it started.

    with Stack(nodes=2) as stack:
        stack.nodes[0].client_url            # http://127.0.0.1:P
        stack.nodes[0].terminate()
        stack.nodes[0].wait()                # its exit code
        stack.start_node(at=stack.nodes[0])  # another process at the same addresses
        stack.prometheus(rules=["alerts.yml"])  # http://127.0.0.1:Q, scraping every node
"""

import glob
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from .process import Process, free_port

ROOT = Path(__file__).resolve().parents[3]
SECRET = "a secret of the tests in tests/ops, and of nothing else 0123456789abcdef"


def fetch(url, seconds=10.0):
    """Returns the body of a URL as text; raises when the status is not 2xx."""
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        return answer.read().decode()


def answers(url):
    """Says whether a URL answers with a status of 2xx."""
    try:
        fetch(url, 2.0)
        return True
    except (urllib.error.URLError, OSError):
        return False


class Node:
    """A running node of the cluster."""

    def __init__(self, number, process, clients, admin):
        self.number = number
        self.process = process
        self.clients = clients
        self.admin = admin

    @property
    def pid(self):
        """The process id."""
        return self.process.pid

    @property
    def client_url(self):
        """Where clients connect: `http://127.0.0.1:P`."""
        return f"http://{self.clients}"

    @property
    def ws_url(self):
        """The same for WebSockets: `ws://127.0.0.1:P`."""
        return f"ws://{self.clients}"

    @property
    def admin_url(self):
        """Where operators connect: `http://127.0.0.1:P`."""
        return f"http://{self.admin}"

    def terminate(self):
        """Asks it to leave (SIGTERM)."""
        self.process.terminate()

    def kill(self):
        """Ends it at once (SIGKILL)."""
        self.process.kill()

    def wait(self, seconds=60.0):
        """Waits for its end and returns its exit code."""
        return self.process.wait(seconds)

    def log(self):
        """Its log so far, lines of JSON."""
        return self.process.said()

    def metrics(self):
        """Its `/metrics`, as text."""
        return fetch(f"{self.admin_url}/metrics")

    def metric(self, family, **labels):
        """The sum of a family's samples with these labels; 0 when there is none."""
        return metric(self.metrics(), family, **labels)


def metric(text, family, **labels):
    """The sum of a family's samples with these labels in a Prometheus text; 0 when there is none."""
    total = 0.0
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        plain, _, given = name.partition("{")
        if plain == family and all(label in given for label in wanted):
            total += float(value)
    return total


class Stack:
    """Starts a cluster when entered, stops it when left.

    `nodes`: how many nodes; `redis`, `postgres`: whether they share those, else each has a SQLite file of its own;
    `binary`: the program, by default `$FANFARE_BIN`; `config`: the text of the nodes' TOML file, by default
    `loadtest/fanfare.toml`; `env`: more environment for every node, such as `{"FANFARE_DRAIN__WAIT": "0s"}`.
    """

    def __init__(self, nodes=2, redis=True, postgres=True, binary=None, config=None, env=None):
        self.secret = SECRET
        self.nodes = []
        self.redis_url = None
        self.database_url = None
        self.dir = None
        self._count = nodes
        self._wants = (redis, postgres)
        self._binary = binary or os.environ.get("FANFARE_BIN")
        if not self._binary:
            raise ValueError("FANFARE_BIN is not set: the path of a built `fanfare`")
        self._binary = str(Path(self._binary).resolve())
        self._config = (ROOT / "loadtest/fanfare.toml").read_text() if config is None else config
        self._env = dict(env or {})
        self._processes = []
        self._started = 0

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="fanfare-ops-"))
        self.dir.chmod(0o755)
        try:
            (self.dir / "fanfare.toml").write_text(self._config)
            redis, postgres = self._wants
            if redis:
                self._start_redis()
            if postgres:
                self._start_postgres()
            for _ in range(self._count):
                self.start_node()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, error, trace):
        if error is not None:
            for node in self.nodes:
                print(f"--- end of the log of node {node.number}\n{node.log()[-2000:]}")
        self.stop()

    def stop(self):
        """Kills what runs, newest first, and removes the directory."""
        while self._processes:
            self._processes.pop().kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start_node(self, at=None, env=None, flags=()):
        """Starts one more node, or one that takes the place and the addresses of `at`, which has ended."""
        number = at.number if at else self._started
        self._started += 0 if at else 1
        home = self.dir / f"node-{number}"
        home.mkdir(exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FANFARE_")}
        environment |= {
            "FANFARE_CONFIG": str(self.dir / "fanfare.toml"),
            "FANFARE_LISTEN": at.clients if at else "127.0.0.1:0",
            "FANFARE_ADMIN_LISTEN": at.admin if at else "127.0.0.1:0",
            "FANFARE_SECRET_KEY_BASE": self.secret,
            "FANFARE_DATABASE_URL": self.database_url or f"sqlite://{home}/fanfare.db",
            "FANFARE_LOG": "json",
        }
        if self.redis_url:
            environment["FANFARE_REDIS_URL"] = self.redis_url
        environment |= self._env | (env or {})
        process = self._run(
            f"node {number}", [self._binary, "serve", *flags], f"node-{number}.log", environment, home
        )
        clients, admin = process.await_start(lambda: listening(process.said()))
        node = Node(number, process, clients, admin)
        if at in self.nodes:
            self.nodes[self.nodes.index(at)] = node
        else:
            self.nodes.append(node)
        return node

    def prometheus(self, config=None, rules=(), interval="1s"):
        """Starts Prometheus with its remote-write receiver on and returns its URL.

        Without a text of its own configuration it scrapes every node of now, as job `fanfare`.
        """
        port = free_port()
        if config is None:
            config = scrape_config([node.admin for node in self.nodes], rules, interval)
        home = self.dir / "prometheus"
        home.mkdir()
        (home / "prometheus.yml").write_text(config)
        arguments = [
            need("prometheus"),
            f"--config.file={home}/prometheus.yml",
            f"--storage.tsdb.path={home}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
        ]
        process = self._run("prometheus", arguments, "prometheus.log")
        url = f"http://127.0.0.1:{port}"
        process.await_start(lambda: answers(f"{url}/-/ready"))
        return url

    def sql(self, text):
        """Runs SQL in the database and returns what it prints, unaligned."""
        ran = subprocess.run(
            [tools() / "psql", "-XqtA", "-v", "ON_ERROR_STOP=1", "-c", text, self.database_url],
            check=True,
            capture_output=True,
            text=True,
        )
        return ran.stdout.strip()

    def _run(self, name, arguments, log, env=None, cwd=None, account=None):
        process = Process(name, arguments, self.dir / log, env, cwd or self.dir, account)
        self._processes.append(process)
        return process

    def _start_redis(self):
        port = free_port()
        arguments = [need("redis-server"), "--bind", "127.0.0.1", "--port", port]
        process = self._run("redis", [*arguments, "--save", "", "--appendonly", "no"], "redis.log")
        process.await_start(lambda: redis_answers(port))
        self.redis_url = f"redis://127.0.0.1:{port}/"

    def _start_postgres(self):
        home = self.dir / "postgres"
        home.mkdir()
        # Postgres refuses to run as root.
        account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if account:
            os.chown(home, account.pw_uid, account.pw_gid)
        made = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]
        initdb = [tools() / "initdb", *made, f"--pgdata={home}/data"]
        code = self._run("initdb", initdb, "initdb.log", cwd=home, account=account).wait(60)
        if code != 0:
            raise RuntimeError(f"initdb failed:\n{(self.dir / 'initdb.log').read_text()}")
        port = free_port()
        # fsync is off because tests end processes, never the machine.
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={port}",
            f"unix_socket_directories={home}",
            "max_connections=200",
            "fsync=off",
        ]
        flags = [flag for setting in settings for flag in ("-c", setting)]
        server = [tools() / "postgres", "-D", home / "data", *flags]
        process = self._run("postgres", server, "postgres.log", cwd=home, account=account)
        process.await_start(lambda: "ready to accept connections" in process.said())
        self.database_url = f"postgres://postgres@127.0.0.1:{port}/postgres"


def listening(log):
    """The addresses that a node's log names, clients' and operators', once it has them."""
    for line in log.splitlines():
        if '"listening"' in line:
            said = json.loads(line)
            return said["clients"], said["admin"]
    return None


def scrape_config(targets, rules=(), interval="1s"):
    """The text of a Prometheus configuration that scrapes these addresses as job `fanfare`."""
    return json.dumps(
        {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": [str(Path(rule).resolve()) for rule in rules],
            "scrape_configs": [
                {"job_name": "fanfare", "static_configs": [{"targets": list(targets)}]}
            ],
        },
        indent=2,
    )


def redis_answers(port):
    """Says whether a Redis answers PING on a port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def need(program):
    """The path of a program; raises when it is not installed."""
    found = shutil.which(program)
    if not found:
        raise FileNotFoundError(f"{program} is not installed")
    return found


def tools():
    """The folder of the Postgres server programs."""
    folders = sorted(map(Path, glob.glob("/usr/lib/postgresql/*/bin")), reverse=True)
    if shutil.which("pg_config"):
        asked = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        folders.insert(0, Path(asked.stdout.strip()))
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise FileNotFoundError("the Postgres server programs (postgres, initdb) are not installed")
