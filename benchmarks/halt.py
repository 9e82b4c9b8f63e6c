"""A halt's way from its issuer to the gates, beside what the broker does with the same bytes in the same run.

Prints and merges into build/bench.json: `halt_1000`, `halt_1000_in_line`, `halt_1000_acknowledged`, `halt_loaded`. Run
it as `make bench-halt`; docs/benchmarks.md says what each figure is. Medians of rounds, floor and ours in turn.
"""

import argparse
import asyncio
import gc
import json
import logging
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiormq
import structlog
import uvloop
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from yarl import URL

from benchmarks.halt_crowd import Crowd
from benchmarks.halt_traffic import Traffic
from sidecar.agent.clock import boottime_ns
from sidecar.broker.interface import Delivery, Outgoing, Subscription
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import CONTROL, issuer_queue
from sidecar.demo.brokers import FoundBroker, find_broker
from sidecar.messages.base import message_type
from sidecar.messages.codec import decode, encode
from sidecar.messages.control import Halt, HaltAccepted, TradingState

RESULTS: Final = Path("build/bench.json")
GATES: Final = 1_000
ROUNDS: Final = 15
HALTS: Final = 200
"""Single halts of one round; p99 of them is the second largest."""
LOADED_ROUNDS: Final = 5
ORDERS_PER_S: Final = 2_000
PATIENCE_S: Final = 60.0
AT_ONCE: Final = 50
"""Queues that the floor declares at once."""
FANOUT: Final = "bench.fanout"
SHARED_MEMORY: Final = Path("/dev/shm")
Figure = dict[str, float | str]


def say(line: str) -> None:
    """To whoever runs this."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def halt_of(halt_id: str) -> Halt:
    """Everything, as an operator says it."""
    return Halt(
        halt_id=halt_id,
        scopes=("all",),
        level=TradingState.HALTED,
        reason="a benchmark of halts",
        actor="ops@bench",
        issued_ns=time.time_ns(),
    )


class Issuer:
    """An operator's end: posts halts on a connection of its own, and takes acknowledgements."""

    def __init__(self, url: str) -> None:
        self.accepted: list[HaltAccepted] = []
        self.last_heard_ns = 0
        self._halt_id = ""
        self._wanted = 0
        self._done = asyncio.Event()
        self._broker = RabbitBroker([url], name="issuer", connect_timeout_ms=int(PATIENCE_S * 1_000))
        self._queue = issuer_queue(self._broker.user, uuid.uuid4().hex[:12])
        self._broker.subscribe(Subscription(queue=self._queue, on_delivery=self._hear, no_ack=True), control=True)

    async def start(self) -> None:
        """Connect."""
        await self._broker.start()
        await self._broker.wait_ready(PATIENCE_S)

    async def close(self) -> None:
        """Leave."""
        await self._broker.close()

    def issue(self, wanted: int) -> int:
        """Send one halt, to be acknowledged `wanted` times; returns when, CLOCK_BOOTTIME."""
        halt = halt_of(uuid.uuid4().hex)
        self._halt_id, self._wanted, self.accepted = halt.halt_id, wanted, []
        self._done.clear()
        issued_ns = boottime_ns()
        self._broker.post(
            Outgoing(
                exchange=CONTROL,
                routing_key="",
                body=encode(halt),
                type=message_type(halt),
                app_id=halt.actor,
                reply_to=self._queue.name,
            )
        )
        return issued_ns

    @property
    def halt_id(self) -> str:
        """Of the last one."""
        return self._halt_id

    async def all_heard(self) -> None:
        """Every acknowledgement of the last halt is here. TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            await self._done.wait()

    def _hear(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        if isinstance(message, HaltAccepted) and message.halt_id == self._halt_id:
            self.accepted.append(message)
            self.last_heard_ns = boottime_ns()
            if len(self.accepted) == self._wanted:
                self._done.set()


# --- the floor ---


class RawFanout:
    """The same bytes to as many exclusive queues, with aiormq alone: publish, and the time of the last delivery.

    Channels and connections are as ours: one connection that publishes, one that consumes, a channel for each queue.
    """

    def __init__(self, queues: int) -> None:
        self._queues = queues
        self._seen = 0
        self._last_ns = 0
        self._done = asyncio.Event()
        self._publisher: Any = None
        self._properties = Basic.Properties()

    @asynccontextmanager
    async def running(self, url: str) -> AsyncIterator["RawFanout"]:
        """Declared and consuming."""
        consuming, publishing = await aiormq.connect(url), await aiormq.connect(url)
        try:
            self._publisher = await publishing.channel(publisher_confirms=False)
            self._properties = properties_as_ours(url)
            await self._publisher.exchange_declare(FANOUT, exchange_type="fanout", auto_delete=True)
            names = [f"bench.fanout.{each}" for each in range(self._queues)]
            for at in range(0, self._queues, AT_ONCE):
                await asyncio.gather(*(self._consume(consuming, each) for each in names[at : at + AT_ONCE]))
            yield self
        finally:
            await publishing.close()
            await consuming.close()

    async def once(self, body: bytes) -> float:
        """Milliseconds from the publish to the last delivery."""
        self._seen = 0
        self._done.clear()
        issued_ns = boottime_ns()
        await self._publisher.basic_publish(body, exchange=FANOUT, properties=self._properties, wait=False)
        async with asyncio.timeout(PATIENCE_S):
            await self._done.wait()
        return (self._last_ns - issued_ns) / 1e6

    async def _consume(self, connection: Any, queue: str) -> None:
        channel = await connection.channel(publisher_confirms=False, frame_buffer_size=1_000)
        await channel.queue_declare(queue, exclusive=True, arguments={"x-queue-type": "classic"})
        await channel.queue_bind(queue, FANOUT)
        await channel.basic_consume(queue, self._on_message, no_ack=True)

    async def _on_message(self, message: DeliveredMessage) -> None:
        self._seen += 1
        if self._seen == self._queues:
            self._last_ns = boottime_ns()
            self._done.set()


def properties_as_ours(url: str) -> Basic.Properties:
    """What a halt of ours carries beside its body; reading it is a part of what a delivery costs."""
    return Basic.Properties(
        content_type="application/json",
        delivery_mode=2,
        reply_to="sidecar.reply.operator-guest.0123456789ab",
        message_id="0123456789abcdef-1",
        timestamp=datetime.now(UTC),
        message_type="halt.v1",
        user_id=URL(url).user or "guest",
        app_id="ops@bench",
    )


# --- ours ---


async def round_of(crowd: Crowd, issuer: Issuer, gates: int, *, deferred: bool) -> tuple[float, float]:
    """Milliseconds from the issue to the last gate closed, and to the last acknowledgement heard.

    `deferred` keeps back what sidecars do after closing until all are closed (`halt_crowd.py`).
    Raises RuntimeError unless every gate was open before and closed after, as a component reads its page.
    """
    crowd.open()
    if crowd.gates_open != gates:
        raise RuntimeError(f"only {crowd.gates_open} of {gates} gates are open before the halt")
    await asyncio.sleep(0.05)
    crowd.deferred = deferred
    issued_ns = issuer.issue(gates)
    if deferred:
        async with asyncio.timeout(PATIENCE_S):
            await crowd.all_closed()
        crowd.acknowledge()
    await issuer.all_heard()
    closed_ms = (max(each.closed_ns for each in issuer.accepted) - issued_ns) / 1e6
    if crowd.gates_open:
        raise RuntimeError(f"{crowd.gates_open} gates are open after every sidecar acknowledged")
    heard_ms = (issuer.last_heard_ns - issued_ns) / 1e6
    crowd.lift(issuer.halt_id)
    return closed_ms, heard_ms


async def thousand(url: str, directory: Path, gates: int, rounds: int) -> dict[str, Figure]:
    """The three figures of a halt to all."""
    say(f"making {gates} sidecars")
    issuer = Issuer(url)
    crowd = Crowd(url, directory, gates, replies=False)
    await crowd.start()
    await issuer.start()
    say(f"declaring {gates} queues for the floor")
    closed, in_line, heard, floor = [], [], [], []
    body = encode(halt_of(uuid.uuid4().hex))
    try:
        async with RawFanout(gates).running(url) as raw:
            gc.collect()
            gc.freeze()  # A sidecar's own process has a thousandth of this heap to look through.
            for each in range(rounds + 1):
                floor_ms = await raw.once(body)
                closed_ms, heard_ms = await round_of(crowd, issuer, gates, deferred=True)
                in_line_ms, _ = await round_of(crowd, issuer, gates, deferred=False)
                say(
                    f"round {each}: floor {floor_ms:.1f} ms, last of {gates} gates closed after {closed_ms:.1f} ms "
                    f"(in line {in_line_ms:.1f} ms), last acknowledgement after {heard_ms:.1f} ms"
                )
                if each:  # The first one warms both up.
                    floor.append(floor_ms)
                    closed.append(closed_ms)
                    in_line.append(in_line_ms)
                    heard.append(heard_ms)
    finally:
        gc.unfreeze()
        await crowd.close()
        await issuer.close()
    names = ("halt_1000", "halt_1000_in_line", "halt_1000_acknowledged")
    return {
        name: figure(statistics.median(ours), statistics.median(floor))
        for name, ours in zip(names, (closed, in_line, heard), strict=True)
    }


async def single(crowd: Crowd, issuer: Issuer, halts: int) -> list[float]:
    """Milliseconds from the issue to the gate closed, of one sidecar, again and again."""
    took: list[float] = []
    for _ in range(halts):
        crowd.open()
        if crowd.gates_open != 1:
            raise RuntimeError("the gate is not open before the halt")
        await asyncio.sleep(0.01)
        issued_ns = issuer.issue(1)
        await issuer.all_heard()
        took.append((issuer.accepted[0].closed_ns - issued_ns) / 1e6)
        crowd.lift(issuer.halt_id)
    return took


async def loaded(url: str, directory: Path, rounds: int) -> dict[str, Figure]:
    """One sidecar, whose own queue for answers takes all the order traffic, beside the same without any."""
    issuer = Issuer(url)
    crowd = Crowd(url, directory, 1, replies=True)
    await crowd.start()
    await issuer.start()
    ours, floor = [], []
    try:
        await single(crowd, issuer, HALTS)
        for each in range(rounds):
            unloaded = sorted(await single(crowd, issuer, HALTS))
            async with Traffic(url, crowd.replies[0], ORDERS_PER_S).flowing() as traffic:
                under = sorted(await single(crowd, issuer, HALTS))
            rate = traffic.rate
            say(
                f"round {each + 1}: p50 {statistics.median(under):.2f} ms, p99 {p99(under):.2f} ms at {rate:.0f} "
                f"orders/s; p50 {statistics.median(unloaded):.2f} ms, p99 {p99(unloaded):.2f} ms without"
            )
            if rate < 0.95 * ORDERS_PER_S:
                raise RuntimeError(f"the traffic came to {rate:.0f} orders/s only: this machine is too busy")
            ours.append(p99(under))
            floor.append(p99(unloaded))
    finally:
        await crowd.close()
        await issuer.close()
    return {"halt_loaded": figure(statistics.median(ours), statistics.median(floor))}


def p99(ordered: list[float]) -> float:
    """By nearest rank."""
    return ordered[-(-99 * len(ordered) // 100) - 1]


def figure(ours_ms: float, floor_ms: float) -> Figure:
    """One entry of build/bench.json."""
    return {
        "ours": round(ours_ms, 2),
        "floor": round(floor_ms, 2),
        "ratio": round(ours_ms / floor_ms, 2),
        "unit": "ms",
    }


async def measure(found: FoundBroker, options: argparse.Namespace) -> dict[str, Figure]:
    """What was asked for."""
    home = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    results: dict[str, Figure] = {}
    try:
        if options.only in ("", "thousand"):
            with tempfile.TemporaryDirectory(prefix="sidecar-halt-", dir=home) as directory:
                results |= await thousand(found.url, Path(directory), options.gates, options.rounds)
        if options.only in ("", "loaded"):
            with tempfile.TemporaryDirectory(prefix="sidecar-halt-", dir=home) as directory:
                results |= await loaded(found.url, Path(directory), LOADED_ROUNDS)
    finally:
        await found.stop()
    return results


async def run(options: argparse.Namespace) -> dict[str, Figure]:
    """On a broker that is found or started."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # It warns of each channel that is closed at the end.
    return await measure(await find_broker(say=say), options)


def main() -> None:
    """Measure, print, merge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--gates", type=int, default=GATES)
    parser.add_argument("--only", choices=("", "thousand", "loaded"), default="")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(run(options))
    for name, each in results.items():
        sys.stdout.write(f"{name}: ours {each['ours']} ms, floor {each['floor']} ms, ratio {each['ratio']}\n")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
