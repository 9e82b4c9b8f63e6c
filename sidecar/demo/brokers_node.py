"""A private rabbitmq-server: own directory, ports, name, cookie and port mapper, gone without a trace afterwards.

Owns the two processes (epmd and the node) and their directory. It must not touch a system node: it reads no file of
/etc/rabbitmq, and it never talks to the system's epmd. The environment variables are those of rabbitmq.com/configure.
"""

import asyncio
import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.demo.brokers_found import FoundBroker, Say, WayClosed
from sidecar.demo.brokers_greeting import RETRY_S, ask_version

# Debian's and the vendor's /usr/sbin/rabbitmq-server refuses ordinary users and makes root another user; the
# script that it wraps does neither.
WRAPPED = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
SYSTEM_PATHS = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
# Below the range from which Linux takes the source ports of outgoing connections.
PORTS = range(20_000, 32_000)
START_S = 90.0
STOP_S = 10.0


def server_program() -> Path | None:
    """The rabbitmq-server to run, if there is one."""
    found = shutil.which("rabbitmq-server", path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATHS}")
    if found is None:
        return None
    if Path(found).parent in (Path("/usr/sbin"), Path("/sbin")) and WRAPPED.exists():
        return WRAPPED
    return Path(found)


async def by_private_node(say: Say) -> FoundBroker:
    """Start a node of our own. WayClosed when there is no rabbitmq-server or it does not come up.

    Call it from a thread that lives as long as the node shall: the node dies with the thread that started it.
    """
    program, epmd = server_program(), shutil.which("epmd")
    if program is None:
        raise WayClosed("there is no rabbitmq-server on PATH")
    if epmd is None:
        raise WayClosed(f"{program} is there, but epmd, which belongs to Erlang, is not on PATH")
    node = PrivateNode(program=program, epmd=epmd)
    say(f"starting a private node with {program}")
    try:
        version = await node.start()
    except BaseException as error:
        node.stop()
        if isinstance(error, (OSError, TimeoutError)):
            raise WayClosed(f"{program} did not come up: {error}") from error
        raise

    async def stop() -> None:
        await asyncio.to_thread(node.stop)

    return FoundBroker(url=node.url, started_by="private-node", version=version, stop_what_we_started=stop)


@dataclass(slots=True, kw_only=True)
class PrivateNode:
    """One node and its port mapper. `start` once, `stop` any number of times; the data does not survive `stop`.

    `settings` are further lines of its rabbitmq.conf; `plugins` the names of plugins, with commas between.
    """

    program: Path
    epmd: str
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="sidecar-broker-")))
    amqp_port: int = field(default_factory=lambda: free_port())
    distribution_port: int = field(default_factory=lambda: free_port())
    epmd_port: int = field(default_factory=lambda: free_port())
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    settings: str = ""
    plugins: str = ""
    # Nobody watches the statistics of a node for the demo or the tests.
    statistics_ms: int = 60_000

    @property
    def url(self) -> str:
        """Where it answers. The loopback interface only, so the default user serves."""
        return f"amqp://guest:guest@127.0.0.1:{self.amqp_port}/"

    async def start(self) -> str:
        """The version it answers with. OSError or TimeoutError with its last words otherwise."""
        self._lay_files()
        self._spawn([self.epmd, "-address", "127.0.0.1", "-port", str(self.epmd_port)], "epmd.out")
        self._spawn([str(self.program)], "node.out")
        return await self._answer()

    def signal_node(self, number: signal.Signals) -> None:
        """Send the node and all it started a signal, and none to its port mapper."""
        os.killpg(self.processes[-1].pid, number)

    async def kill_node(self) -> None:
        """kill -9 of the node; its data stays."""
        self.signal_node(signal.SIGKILL)
        await asyncio.to_thread(self.processes.pop().wait, STOP_S)

    async def start_again(self) -> str:
        """Start the node that was killed, with the data that it had; as `start` otherwise."""
        self._spawn([str(self.program)], "node.out")
        return await self._answer()

    async def _answer(self) -> str:
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            if self.processes[-1].poll() is not None:
                raise OSError(f"it ended with {self.processes[-1].returncode}: {self._last_words()}")
            with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
                return await ask_version(self.url)
            await asyncio.sleep(RETRY_S)
        raise TimeoutError(f"it does not answer after {START_S:.0f} s: {self._last_words()}")

    def stop(self) -> None:
        """Kill both with all they started and remove the directory: nothing in it is worth an orderly end."""
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=STOP_S)
        self.processes.clear()
        shutil.rmtree(self.home, ignore_errors=True)

    def _lay_files(self) -> None:
        cookie = self.home / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(20))
        cookie.chmod(0o400)
        (self.home / "conf.d").mkdir()
        (self.home / "env.conf").write_text("")
        (self.home / "enabled_plugins").write_text(f"[{self.plugins}].\n")
        (self.home / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.amqp_port}\n"
            "disk_free_limit.absolute = 50MB\n"
            f"collect_statistics_interval = {self.statistics_ms}\n"
            f"{self.settings}\n"
        )

    def environment(self) -> dict[str, str]:
        """What the node, and a tool that is to find it, must be started with."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(self.home),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"sidecar-{self.amqp_port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.home / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.home / "generated"),
            "RABBITMQ_PID_FILE": str(self.home / "pid"),
            # The script then becomes the node instead of standing before it, so that a signal reaches the node.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _spawn(self, command: list[str], output: str) -> None:
        # If we are killed ourselves, nobody calls stop(): let the kernel do it where the tool for it is there.
        leash = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []
        with (self.home / output).open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    leash + command,
                    cwd=self.home,
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _last_words(self) -> str:
        return " ".join((self.home / "node.out").read_text(errors="replace").split())[-400:]


def free_port() -> int:
    """A port on the loopback interface that nobody uses now."""
    for _ in range(100):
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no free port in {PORTS.start} to {PORTS.stop}")
