"""Emergency shutdown of fifty components on one machine: from the command's start until everything has stopped.

Starts an arbiter and fifty sidecars, each with a component as its child, waits until every gate is open, and runs
`sidecar shutdown`. The time ends when every gate page is closed, the arbiter has found every callback (cancel, flatten,
persist, stop) complete, and every component's process is gone. Prints and merges `shutdown_50` into build/bench.json.
Run it as `make bench-shutdown`; the exit code is 1 when it takes longer than `LIMIT_S`.
"""

import argparse
import asyncio
import functools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
import uvloop

from sidecar.broker.rabbit import RabbitBroker
from sidecar.client.operator import Operator
from sidecar.demo.brokers import find_broker
from sidecar.demo.launcher import ProcessLauncher, ProcessSpec, Running
from sidecar.gate.reader import GateReader

RESULTS: Final = Path("build/bench.json")
COMPONENTS: Final = 50
ROUNDS: Final = 3
LIMIT_S: Final = 5.0
PATIENCE_S: Final = 180.0
"""Fifty interpreters take about a minute to start on two cores."""
LOOK_S: Final = 0.01
STILL_S: Final = 3.0
"""Between the last gate's opening and the command: starting is no part of the measurement."""
AT_ONCE: Final = 5
COMPONENT: Final = Path(__file__).with_name("shutdown_component.py")


def say(line: str) -> None:
    """To whoever runs this."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """One round, in seconds from the start of the command."""

    gates_s: float
    gone_s: float
    command_s: float
    answer: dict[str, Any]

    @property
    def all_s(self) -> float:
        """Until nothing was left to stop, and the operator knew it."""
        return max(self.gates_s, self.gone_s, self.command_s)


class Site:
    """The trading site: one directory, its configuration files and its processes."""

    def __init__(self, url: str, directory: Path, components: int) -> None:
        self._url = url
        self._directory = directory
        self.names = [f"exec-{each}" for each in range(components)]
        self._launcher = ProcessLauncher(directory)
        self._running: list[Running] = []
        self._readers: list[GateReader] = []

    async def start(self) -> None:
        """Everything runs and every gate is open."""
        self._running.append(await self._launcher.start(self._spec("arbiter", "arbiter-1", {})))
        for at in range(0, len(self.names), AT_ONCE):
            batch = self.names[at : at + AT_ONCE]
            for each in batch:
                self._running.append(await self._launcher.start(self._sidecar(each)))
            await until(functools.partial(self._attached, batch), f"the sidecars of {', '.join(batch)}")
        self._readers = [GateReader(self._gate(each)) for each in self.names]
        await until(lambda: all(each.check() for each in self._readers), "every gate open")
        await asyncio.sleep(STILL_S)

    async def stop(self) -> None:
        """End every process."""
        await asyncio.gather(*(each.stop() for each in self._running))
        self._running.clear()
        for each in self._directory.glob("*.pid"):
            each.unlink()

    async def shut_down(self) -> Stopped:
        """The operator's command, and what the pages and the processes say meanwhile."""
        pids = [int((self._directory / f"{each}.pid").read_text()) for each in self.names]
        if not all(map(lives, pids)):
            raise RuntimeError("a component died before the shutdown")
        began_s = time.monotonic()
        command = asyncio.create_task(self._command("shutdown"))
        gates_s = gone_s = 0.0
        while not (command.done() and gates_s and gone_s):
            if not gates_s and not any(each.check() for each in self._readers):
                gates_s = time.monotonic() - began_s
            if not gone_s and not any(map(lives, pids)):
                gone_s = time.monotonic() - began_s
            if time.monotonic() - began_s > PATIENCE_S:
                raise RuntimeError("the shutdown does not come to an end")
            await asyncio.sleep(LOOK_S)
        answer, command_s = command.result()
        return Stopped(gates_s=gates_s, gone_s=gone_s, command_s=command_s - began_s, answer=answer)

    async def lift(self, halt_id: str) -> None:
        """So that the next round can begin."""
        broker = RabbitBroker([self._url], name="operator")
        operator = Operator(broker, "bench")
        await broker.start()
        try:
            await broker.wait_ready(PATIENCE_S)
            result = await operator.resume(halt_id, "the next round", timeout_s=PATIENCE_S)
        finally:
            await broker.close()
        if not result.ok:
            raise RuntimeError(result.text)

    async def _command(self, name: str) -> tuple[dict[str, Any], float]:
        config = self._file("operator", {})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sidecar.cli.main", name, "--reason", "a benchmark", "--json", "-c", str(config)),
            stdout=asyncio.subprocess.PIPE,
            env={key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")},
        )
        out, _ = await process.communicate()
        ended_s = time.monotonic()
        answer = json.loads(out)
        if process.returncode:
            raise RuntimeError(f"sidecar {name} ended with {process.returncode}: {json.dumps(answer)[:2000]}")
        return answer, ended_s

    def _attached(self, batch: list[str]) -> bool:
        return all((self._directory / f"{each}.pid").exists() for each in batch)

    def _gate(self, name: str) -> Path:
        return self._directory / f"{name}.gate"

    def _sidecar(self, name: str) -> ProcessSpec:
        own = {
            "name": name,
            "socket": str(self._directory / f"{name}.sock"),
            "gate": str(self._gate(name)),
            "state_dir": str(self._directory / f"{name}.state"),
        }
        child = ("--", sys.executable, "-I", "-S", str(COMPONENT.absolute()), str(self._directory))
        return self._spec("sidecar", name, {"component": own}, *child)

    def _spec(self, role: Any, name: str, own: dict[str, Any], *arguments: str) -> ProcessSpec:
        return ProcessSpec(role=role, name=name, config=self._file(name, own), arguments=arguments)

    def _file(self, name: str, own: dict[str, Any]) -> Path:
        settings = {
            "broker": {"urls": [self._url]},
            "run_dir": str(self._directory),
            "groups": {f"group-{each}": {"components": [each]} for each in self.names},
            "arbiter": {"id": "arbiter-1", "failovers_per_hour_max": 0},
            "security": {"operators": [urlsplit(self._url).username or "guest"]},
        }
        path = self._directory / f"{name}.json"
        path.write_text(json.dumps(settings | own))
        return path


def lives(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(met: Callable[[], bool], what: str) -> None:
    """Look every few milliseconds."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not met():  # noqa: ASYNC110  # Files and processes tell nobody.
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise RuntimeError(f"not within {PATIENCE_S:.0f} s: {what}") from None


async def measure(url: str, directory: Path, components: int, rounds: int) -> list[Stopped]:
    """Every round with new processes."""
    found: list[Stopped] = []
    for each in range(rounds):
        site = Site(url, directory, components)
        say(f"round {each + 1}: starting {components} sidecars with their components")
        try:
            await site.start()
            stopped = await site.shut_down()
            await site.lift(stopped.answer["halt_id"])
        finally:
            await site.stop()
        answer = stopped.answer
        say(
            f"round {each + 1}: all stopped after {stopped.all_s:.2f} s: gates closed after {stopped.gates_s:.2f} s "
            f"(p50 {answer['p50_ms']:.1f} ms, max {answer['max_ms']:.1f} ms from the issue), processes gone after "
            f"{stopped.gone_s:.2f} s, the command ended after {stopped.command_s:.2f} s; load {os.getloadavg()[0]:.1f}"
        )
        done = [one["outcomes"] for one in answer["components"] if one["complete"] and len(one["outcomes"]) == 4]
        if len(done) != components:
            raise RuntimeError(f"only {len(done)} of {components} components have all four results")
        found.append(stopped)
    return found


async def run(options: argparse.Namespace) -> list[Stopped]:
    """On a broker that is found or started."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    broker = await find_broker(say=say)
    directory = Path(tempfile.mkdtemp(prefix="sidecar-shutdown-"))
    try:
        found = await measure(broker.url, directory, options.components, options.rounds)
    except BaseException:
        say(f"the logs are in {directory}")
        raise
    finally:
        await broker.stop()
    shutil.rmtree(directory)
    return found


def main() -> None:
    """Measure, print, merge; 1 when it is too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", type=int, default=COMPONENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(options))
    took_s = statistics.median(each.all_s for each in found)
    name = f"shutdown_{options.components}"
    result = {"ours": round(took_s, 2), "floor": LIMIT_S, "ratio": round(took_s / LIMIT_S, 2), "unit": "s"}
    sys.stdout.write(f"{name}: {took_s:.2f} s, at most {LIMIT_S} s are allowed\n")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, name: result}, indent=2) + "\n")
    if took_s > LIMIT_S:
        sys.exit(1)


if __name__ == "__main__":
    main()
