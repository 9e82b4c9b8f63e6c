"""A private PostgreSQL server: own directory, socket and port, run by an ordinary user, gone with whoever started it.

The programs come from Debian's package `postgresql` (.ci/run installs it). PostgreSQL refuses to run as root.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.demo.brokers_node import free_port

DEBIAN = Path("/usr/lib/postgresql")
USERS = ("postgres", "nobody")
START_S = 60.0
STOP_S = 20.0
LOOK_AGAIN_S = 0.05


class ServerNotFound(Exception):
    """There is no PostgreSQL to run here; the text says why."""


def programs() -> Path:
    """The directory with initdb and postgres, the newest of those there are."""
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda each: float(each.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    if found is None:
        raise ServerNotFound("there is no initdb on PATH or in /usr/lib/postgresql: apt-get install postgresql")
    return Path(found).resolve().parent


def ordinary_user() -> list[str]:
    """How to become an ordinary user; nothing where we are one."""
    if os.geteuid() != 0:
        return []
    for name in USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups"]
    raise ServerNotFound(f"root may not run PostgreSQL, and there is none of the users {', '.join(USERS)}")


@dataclass
class PostgresServer:
    """`begin` once, `start` and `stop` any number of times, `end` at last."""

    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="sidecar-postgres-")))
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", *, socket: bool = False) -> str:
        """Where it answers: on the loopback interface, or on its Unix socket."""
        if socket:
            return f"postgresql://sidecar@/{database}?host={self.home}&port={self.port}"
        return f"postgresql://sidecar@127.0.0.1:{self.port}/{database}"

    def begin(self) -> None:
        """Make the cluster and start it."""
        become = ordinary_user()
        if become:
            os.chown(self.home, int(become[1]), int(become[3]))
        self._run(programs() / "initdb", "-D", self.home / "data", "-U", "sidecar", "-A", "trust", "-N", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        """Return when it answers."""
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.home}",
            "fsync=off",
            "max_connections=30",
            "shared_buffers=16MB",
        )
        options = [part for each in settings for part in ("-c", each)]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._leash(), str(programs() / "postgres"), "-D", str(self.home / "data"), *options],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end_s = time.monotonic() + START_S
        ready = [str(programs() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "sidecar"]
        while subprocess.run(ready, timeout=START_S).returncode:
            if self.process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError(f"PostgreSQL did not come up: {(self.home / 'server.log').read_text()[-800:]}")
            time.sleep(LOOK_AGAIN_S)

    def stop(self) -> None:
        """At once, connections cut, as by a crash (its "immediate" shutdown)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(STOP_S)
            self.process = None

    def database(self, name: str) -> None:
        """Make an empty database."""
        self._run(programs() / "createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "sidecar", name)

    def end(self) -> None:
        """Stop it and remove everything."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _leash(self) -> list[str]:
        """It runs as an ordinary user, and the kernel kills it when we are killed."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ServerNotFound("there is no setpriv (util-linux) to run PostgreSQL as an ordinary user")
        return [setpriv, *ordinary_user(), "--pdeathsig", "KILL"]

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [*self._leash(), *map(str, command)], cwd=self.home, capture_output=True, text=True, timeout=START_S
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-800:]}")
