"""Programs that a test starts: one process, its log file, and its end.

It never signals a process that it did not start, and what it starts dies with the test.
"""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

POLL_SECONDS = 0.02


# The lowest port that a test takes, and the first of outgoing connections by the kernel's default.
LOWEST_PORT, FIRST_OUTGOING = 10_240, 32_768
_claims = []


def free_port():
    """Returns a loopback port that nothing uses and that no other test is given while this process lives.

    It lies below the ports of outgoing connections: of those the kernel gives it to the next one before the server
    starts. The claim is the same port of UDP, which nobody has to tidy up.
    """
    count = FIRST_OUTGOING - LOWEST_PORT
    apart = os.getpid() * 97 + len(_claims)
    for turn in range(count):
        port = LOWEST_PORT + (apart + turn) % count
        claim = socket.socket(type=socket.SOCK_DGRAM)
        try:
            claim.bind(("127.0.0.1", port))
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise OSError(f"every port from {LOWEST_PORT} up is taken")


def await_true(condition, seconds, what):
    """Calls `condition` until it returns something true, and returns that.

    Raises `TimeoutError` naming `what` after so many seconds.
    """
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {seconds} s")
        time.sleep(POLL_SECONDS)


class Process:
    """A running program whose output goes to a file.

    The kernel kills it when the thread that started it ends, so start it from one that stays.
    """

    def __init__(self, name, arguments, log, env=None, cwd=None, account=None):
        self.name = name
        self.log = Path(log)
        setpriv = ["setpriv", "--pdeathsig", "KILL"]
        if account:
            setpriv += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        with open(self.log, "ab") as output:
            self._start = output.tell()
            self._child = subprocess.Popen(
                [*setpriv, "--", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd=cwd,
            )

    @property
    def pid(self):
        """The process id."""
        return self._child.pid

    def said(self):
        """What it has printed so far."""
        with open(self.log, "rb") as log:
            log.seek(self._start)
            return log.read().decode(errors="replace")

    def await_start(self, condition, seconds=30.0):
        """Waits until `condition` is true; raises with the end of its log when it ends first."""

        def started():
            if self._child.poll() is not None:
                raise RuntimeError(
                    f"{self.name} ended with {self._child.returncode}:\n{self.said()[-4000:]}"
                )
            return condition()

        return await_true(started, seconds, f"start of {self.name}")

    def send(self, number):
        """Sends a signal, unless it has ended."""
        if self._child.poll() is None:
            os.kill(self._child.pid, number)

    def terminate(self):
        """Asks it to end (SIGTERM)."""
        self.send(signal.SIGTERM)

    def kill(self):
        """Ends it at once (SIGKILL) and waits for that."""
        self.send(signal.SIGKILL)
        self._child.wait()

    def running(self):
        """Says whether it has not ended yet."""
        return self._child.poll() is None

    def wait(self, seconds=60.0):
        """Waits for its end and returns its exit code; raises `TimeoutError` at the limit."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise TimeoutError(f"{self.name} did not end within {seconds} s") from late
