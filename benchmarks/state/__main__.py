"""`python -m benchmarks.state`: kill the host of the active, round after round, and see what the next one begins with.

Two hosts, each a sidecar and a component that hands over 64 KiB every 100 ms; an arbiter; a real broker. In each round
sidecar and component of the active get SIGKILL at a random moment. What the promoted component then finds is compared
with what the dead one was answered last. Prints, and merges into build/bench.json:

- `state_rpo`: how old the found state was at the kill, in ms (up to one interval of it is the component's own rhythm);
  `lost_versions`: answered states that were lost, and `lost_ms`, for how long the oldest of these had been answered;
- `state_replicated`: from PUT with replicas=1 to its answer: on two disks, one after the other. Its floor is the
  broker's own publish to consume of such bytes and twice the disk's own write and sync.

Exit code 1 when a round did not end, or a found state was a second old or more.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from benchmarks.state.component import HEAD, now_ns
from benchmarks.state.floor import hop, write_and_sync_ns
from sidecar.cli.process import run_to_end
from sidecar.client import SidecarClient, SidecarError
from sidecar.demo.brokers import BrokerNotFound, checkout_compose_file, find_broker
from sidecar.demo.launcher import ProcessLauncher, ProcessSpec, Running
from sidecar.messages.base import Token
from sidecar.messages.local import LocalStatus

RESULTS: Final = Path("build/bench.json")
HOSTS: Final = ("exec-a", "exec-b")
GOAL_MS: Final = 1_000.0
ROUND_S: Final = 30.0
TOTAL_S: Final = 1_200.0
SAMPLES: Final = 200
BASE64: Final = 4 / 3
LOOK_S: Final = 0.005
QUIET_MS: Final = 60_000
"""Between the component's own states while ours are measured."""


class RoundFailed(Exception):
    """Something that must happen did not; the text says what."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One round. `age_ns` is of the found state at the kill, `lost_ns` since the oldest lost one was answered."""

    age_ns: int
    lost_versions: int
    lost_ns: int
    last: str


class Hosts:
    """The two hosts' processes and what their components wrote."""

    def __init__(self, directory: Path, size: int, interval_ms: int) -> None:
        self._directory = directory
        self._launcher = ProcessLauncher(directory, {"component": "benchmarks.state.component"})
        self._arguments = (str(size), str(interval_ms))
        self._processes: dict[str, list[Running]] = {}

    async def start_arbiter(self) -> None:
        """One arbiter."""
        spec = ProcessSpec(role="arbiter", name="arbiter-1", config=self._directory / "arbiter-1.json")
        self._processes["arbiter-1"] = [await self._launcher.start(spec)]

    async def start(self, host: str) -> None:
        """A sidecar and its component."""
        config = self._directory / f"{host}.json"
        arguments = (str(self.socket(host)), str(self._log(host)), *self._arguments)
        sidecar = await self._launcher.start(ProcessSpec(role="sidecar", name=host, config=config))
        component = await self._launcher.start(ProcessSpec(role="component", name=host, arguments=arguments))
        self._processes[host] = [sidecar, component]

    async def kill(self, host: str) -> int:
        """SIGKILL to both, the sidecar first, so that it can tell nobody of its component's end; when, in ns."""
        at_ns = now_ns()
        for each in self._processes[host]:
            os.kill(each.pid or 0, signal.SIGKILL)
        for each in self._processes[host]:
            await each.kill()
        return at_ns

    async def stop(self) -> None:
        """Everything."""
        running = [each for processes in self._processes.values() for each in processes]
        await asyncio.gather(*(each.stop() for each in running))

    def socket(self, host: str) -> Path:
        """Of the local interface."""
        return self._directory / f"{host}.sock"

    def lines(self, host: str) -> list[list[str]]:
        """What the component of this host wrote, in whole lines."""
        if not self._log(host).exists():
            return []
        return [each.split() for each in self._log(host).read_text().split("\n")[:-1]]

    def _log(self, host: str) -> Path:
        return self._directory / f"{host}.acks"


class Rounds:
    """Kill, compare, heal."""

    def __init__(self, hosts: Hosts, seed: int) -> None:
        self._hosts = hosts
        self._random = random.Random(seed)

    async def steady(self) -> str:
        """Until one host is active and the other one has its states; the active's name."""
        async with asyncio.timeout(ROUND_S):
            while True:
                views = {host: await self._status(host) for host in HOSTS}
                for host, view in views.items():
                    other = views[HOSTS[1 - HOSTS.index(host)]]
                    if view is not None and view.gate.open and other is not None and _follows(other, view):
                        return host
                await asyncio.sleep(LOOK_S)

    async def round(self) -> Loss:
        """One loss of a host."""
        active = await self.steady()
        standby = HOSTS[1 - HOSTS.index(active)]
        await asyncio.sleep(self._random.uniform(0.3, 0.8))
        found_before = _count(self._hosts.lines(standby), "found")
        killed_ns = await self._hosts.kill(active)
        try:
            async with asyncio.timeout(ROUND_S):
                while True:
                    if _count(self._hosts.lines(standby), "found") > found_before:
                        break
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise RoundFailed(f"{standby} was not promoted within {ROUND_S:g} s") from None
        found = [each for each in self._hosts.lines(standby) if each[0] == "found"][-1]
        version, made_ns = int(found[1]), int(found[2])
        answered = [(int(each[1]), int(each[3])) for each in self._hosts.lines(active) if each[0] == "put"]
        run = answered[max((n for n in range(1, len(answered)) if answered[n][0] <= answered[n - 1][0]), default=0) :]
        lost = [at_ns for number, at_ns in run if number > version]
        await self._hosts.start(active)
        return Loss(killed_ns - made_ns, len(lost), killed_ns - min(lost, default=killed_ns), found[3])

    async def replicated(self, url: str, size: int, count: int) -> list[tuple[int, int, int]]:
        """The active's PUT with one replica, the broker's hop, and a write that is synced, in turn; each in ns."""
        took: list[tuple[int, int, int]] = []
        socket = str(self._hosts.socket(await self.steady()))
        async with SidecarClient(socket, timeout_s=5.0) as client, hop(url) as raw:
            with tempfile.TemporaryDirectory(prefix="sc-") as directory:
                while len(took) < count:
                    hop_ns = await raw.took_ns(int(size * BASE64))
                    synced_ns = await asyncio.to_thread(write_and_sync_ns, Path(directory), size)
                    (state,) = (await client.status()).states
                    version = state.version + 1
                    body = HEAD.pack(version, now_ns()) + os.urandom(size - HEAD.size)
                    began_ns = time.perf_counter_ns()
                    with contextlib.suppress(SidecarError):  # The component's own was quicker; the next one counts.
                        await client.put_state(body, version, replicas=1, wait_ms=2_000)
                        took.append((time.perf_counter_ns() - began_ns, hop_ns, synced_ns))
        return took

    async def _status(self, host: str) -> LocalStatus | None:
        try:
            async with SidecarClient(str(self._hosts.socket(host)), timeout_s=1.0) as client:
                return await client.status()
        except SidecarError:
            return None


def _follows(standby: LocalStatus, active: LocalStatus) -> bool:
    """Whether it takes what the active hands over, and its component waits."""
    if not standby.gate.incarnation or not standby.states or not active.states:
        return False
    token: Token = active.gate.slots[0].token
    return standby.states[0].token == token and standby.states[0].lag_ns == 0


def _count(lines: list[list[str]], word: str) -> int:
    return sum(each[0] == word for each in lines)


def _configure(directory: Path, url: str, size: int) -> None:
    """A file for each process."""
    shared: dict[str, Any] = {
        "run_dir": str(directory),
        "broker": {"urls": [url]},
        "groups": {"execution": {"components": HOSTS}},
        "arbiter": {"failovers_per_hour_max": 0},
    }
    (directory / "arbiter-1.json").write_text(json.dumps({**shared, "arbiter": {"failovers_per_hour_max": 0}}))
    for host in HOSTS:
        own = {"name": host, "gate": str(directory / f"{host}.gate"), "state_bytes_max": max(size, 1024 * 1024)}
        (directory / f"{host}.json").write_text(json.dumps({**shared, "component": own}))


@contextlib.asynccontextmanager
async def stage(url: str, size: int, interval_ms: int, seed: int) -> AsyncIterator[Rounds]:
    """Everything started; nothing is left behind. States are kept on a real disk, as those of a component are."""
    directory = Path(tempfile.mkdtemp(prefix="sc-"))
    hosts = Hosts(directory, size, interval_ms)
    try:
        _configure(directory, url, size)
        await hosts.start_arbiter()
        for host in HOSTS:
            await hosts.start(host)
        yield Rounds(hosts, seed)
    finally:
        await hosts.stop()
        shutil.rmtree(directory, ignore_errors=True)


def figures(values: list[float]) -> dict[str, float]:
    """p50, p99 and max; of few values p99 is near the max."""
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3), "max": round(max(values), 3)}


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds; the results by name."""
    found = await find_broker(say=_say, compose_file=checkout_compose_file())
    try:
        async with asyncio.timeout(TOTAL_S):
            async with stage(found.url, options.bytes, options.interval_ms, options.seed) as rounds:
                losses = []
                for n in range(options.rounds):
                    losses.append(await rounds.round())
                    _say(
                        f"{n + 1}/{options.rounds}: found {losses[-1].age_ns / 1e6:.0f} ms old at the kill, "
                        f"{losses[-1].lost_versions} answered states lost, last: {losses[-1].last}"
                    )
            async with stage(found.url, options.bytes, QUIET_MS, options.seed) as rounds:
                took = await rounds.replicated(found.url, options.bytes, SAMPLES)
    finally:
        await found.stop()
    put_ms, floor_ms, disk_ms = (figures([each / 1e6 for each in column]) for column in zip(*took, strict=True))
    both_ms = round(floor_ms["p50"] + 2 * disk_ms["p50"], 3)
    age_ms = figures([each.age_ns / 1e6 for each in losses])
    return {
        "state_rpo": {
            "ours": age_ms["max"],
            "floor": floor_ms["p50"],
            "unit": "ms",
            "p50": age_ms["p50"],
            "p99": age_ms["p99"],
            "max": age_ms["max"],
            "goal": GOAL_MS,
            "lost_versions_max": max(each.lost_versions for each in losses),
            "lost_ms": figures([each.lost_ns / 1e6 for each in losses]),
            "rounds": len(losses),
            "bytes": options.bytes,
            "interval_ms": options.interval_ms,
            "broker": f"RabbitMQ {found.version}",
        },
        "state_replicated": {
            "ours": put_ms["p50"],
            "floor": both_ms,
            "ratio": round(put_ms["p50"] / both_ms, 2),
            "unit": "ms",
            "p99": put_ms["p99"],
            "floor_publish_to_consume": floor_ms["p50"],
            "floor_write_and_sync": disk_ms["p50"],
        },
    }


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> None:
    """Measure, print, merge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.state", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=64 * 1024)
    parser.add_argument("--interval-ms", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="decides the moments of the kills")
    options = parser.parse_args()
    try:
        results = run_to_end(measure(options))
    except BrokerNotFound as error:
        sys.exit(str(error))
    except (RoundFailed, TimeoutError) as error:
        sys.exit(f"FAILED: {error or 'not over in time'}")
    for name, each in results.items():
        sys.stdout.write(f"{name}: {json.dumps(each)}\n")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, **results}, indent=2) + "\n")
    sys.exit(results["state_rpo"]["max"] >= GOAL_MS)


if __name__ == "__main__":
    main()
