"""The journal's speeds, each beside what the broker and its client do with the same bytes in the same run.

Prints and merges into build/bench.json: `replay`, `startup_million`, `heartbeats_consumed`, `append_read_back`. Run it
as `make bench-journal`; `python -m benchmarks.journal --records 100000` is a shorter one. Every figure is the median of
its rounds, floor and ours in turn.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aio_pika
import aiormq
import structlog
from aiormq.abc import DeliveredMessage

from sidecar.arbiter.inbox import Source
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.declaring import declare_everything, declare_queue
from sidecar.broker.interface import Delivery, Outgoing, Subscription
from sidecar.broker.link import broker_info, version_of
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import JOURNAL_STREAM, QUEUES, QueueSpec
from sidecar.config.groups import GroupSettings
from sidecar.config.models import ArbiterSettings, Settings
from sidecar.core.chronicle import Chronicle
from sidecar.core.outputs import Now
from sidecar.core.snapshot import Taken
from sidecar.core.state import State
from sidecar.demo.brokers import find_broker
from sidecar.journal.snapshots import pack, write
from sidecar.journal.stream import READ_AHEAD, Journal
from sidecar.messages.base import Token
from sidecar.messages.codec import encode
from sidecar.messages.health import Heartbeat
from sidecar.messages.journal import (
    AnyFact,
    EvidenceSeen,
    OrderPrecommitted,
    OrderReported,
    Record,
    SnapshotMarked,
    TermStarted,
    Ticked,
)
from sidecar.messages.orders import ExecutionReport, OrderIntent

RESULTS = Path("build/bench.json")
ROUNDS = 3
HEARTBEATS = 50_000
APPENDS = 20_000
REPLAYED = 200_000
"""Records from the journal's beginning over which replay is measured; more of them give the same rate."""
IN_FLIGHT = 500
TOGETHER = 100
"""Appends that raw aiormq is handed at once, as it is fastest."""
BEHIND = 10_000
"""Records behind the snapshot: what `arbiter.snapshot_records` lets gather by default."""
PATIENCE_S = 600.0
BEATS = QueueSpec("bench.heartbeats", "classic")
Figures = dict[str, dict[str, float | str]]


def say(line: str) -> None:
    """To whoever runs this."""
    sys.stderr.write(line + "\n")


def facts(order: int) -> tuple[AnyFact, ...]:
    """One order's life, with a tick of the leader before it."""
    name = f"exec-a-{order}"
    intent = OrderIntent(
        component="exec-a",
        incarnation="exec-a-6f1c",
        cl_ord_id=name,
        slot="execution/0",
        token=Token(1, 1),
        account="ACC-1",
        venue="SIM",
        symbol="XYZ",
        side="BUY",
        qty=Decimal(100),
        price=Decimal("101.25"),
    )
    filled = ExecutionReport(
        venue="SIM",
        account="ACC-1",
        cl_ord_id=name,
        order_id=f"V-{order}",
        exec_id=f"X-{order}",
        exec_type="TRADE",
        ord_status="FILLED",
        symbol="XYZ",
        side="BUY",
        order_qty=Decimal(100),
        cum_qty=Decimal(100),
        leaves_qty=Decimal(0),
        last_qty=Decimal(100),
        last_px=Decimal("101.25"),
        avg_px=Decimal("101.25"),
    )
    return (
        Ticked(),
        OrderPrecommitted(intent=intent),
        OrderReported(cl_ord_id=name, order_id=f"V-{order}", ord_status="NEW"),
        EvidenceSeen(report=filled, source="drop_copy"),
    )


def records(count: int, mark_at: int) -> Iterator[Record]:
    """A journal of one term: orders one after the other, and a mark."""
    order = 0
    kept: list[AnyFact] = [TermStarted(reason="a benchmark")]
    for n in range(count):
        if not kept:
            order += 1
            kept = list(facts(order))
        fact = SnapshotMarked() if n == mark_at else kept.pop(0)
        yield Record(term=1, n=n, arbiter="bench#1", at_ns=time.time_ns(), fact=fact)


async def fill(url: str, count: int, mark_at: int) -> Taken:
    """Append a journal of `count` records; returns the state at the mark."""
    broker = RabbitBroker([url], name="fill", pending_max=2_000, publish_timeout_ms=60_000)
    await broker.start()
    await broker.wait_ready(30)
    state, taken, waiting = State(), None, []
    for at, record in enumerate(records(count, mark_at)):
        body = encode(record)
        if at <= mark_at:
            state.apply(record, body)
        if at == mark_at:
            now = Now(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())
            taken = Taken(state, Chronicle().times(now), at, record.at_ns, True)
        waiting.append(broker.submit(out(JOURNAL_STREAM, body, "record.v1")))
        if len(waiting) >= 1_000:
            await asyncio.gather(*waiting)
            waiting.clear()
    await asyncio.gather(*waiting)
    await broker.close()
    if taken is None:
        raise ValueError("the mark lies behind the journal's end")
    return taken


def out(queue: str, body: bytes, kind: str, app_id: str = "bench") -> Outgoing:
    """Straight to a queue."""
    return Outgoing(exchange="", routing_key=queue, body=body, type=kind, app_id=app_id)


# --- floors ---


@asynccontextmanager
async def channel_of(url: str, *, confirms: bool = False) -> AsyncIterator[aiormq.Channel]:
    """A raw aiormq channel with a large frame buffer, as ours has."""
    connection = await aiormq.connect(url)
    try:
        yield await connection.channel(publisher_confirms=confirms, frame_buffer_size=1_000)  # type: ignore[misc]  # Typed as an awaitable of its base.
    finally:
        await connection.close()


async def raw_consume(url: str, queue: str, count: int, first: int | None) -> float:
    """Seconds in which raw aiormq takes `count` messages; a stream from `first`, with an acknowledgement each 100."""
    done, seen = asyncio.get_running_loop().create_future(), 0
    async with channel_of(url) as channel:

        async def on_message(message: DeliveredMessage) -> None:
            nonlocal seen
            seen += 1
            if first is not None and seen % 100 == 0:
                await channel.basic_ack(message.delivery_tag or 0, multiple=True, wait=False)
            if seen == count and not done.done():
                done.set_result(None)

        if first is not None:
            await channel.basic_qos(prefetch_count=READ_AHEAD)
        began = time.perf_counter()
        arguments: Any = None if first is None else {"x-stream-offset": first}
        await channel.basic_consume(queue, on_message, no_ack=first is None, arguments=arguments)
        async with asyncio.timeout(PATIENCE_S):
            await done
        return time.perf_counter() - began


async def pika_consume(url: str, queue: str, count: int) -> float:
    """Seconds in which aio-pika takes `count` messages without acknowledgements."""
    done, seen = asyncio.get_running_loop().create_future(), 0

    async def on_message(message: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            done.set_result(None)

    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        found = await channel.get_queue(queue)
        began = time.perf_counter()
        await found.consume(on_message, no_ack=True)
        async with asyncio.timeout(PATIENCE_S):
            await done
        return time.perf_counter() - began


async def raw_append(url: str, body: bytes, count: int) -> float:
    """Seconds in which raw aiormq appends `count` records, at most IN_FLIGHT ahead, and reads them back."""
    spec = next(each for each in QUEUES if each.name == JOURNAL_STREAM)
    room, done, seen = asyncio.Semaphore(IN_FLIGHT), asyncio.get_running_loop().create_future(), 0
    async with channel_of(url) as reader, channel_of(url, confirms=True) as writer:
        await fresh(url, spec.name)

        async def on_message(message: DeliveredMessage) -> None:
            nonlocal seen
            seen += 1
            room.release()
            if seen % 50 == 0:
                await reader.basic_ack(message.delivery_tag or 0, multiple=True, wait=False)
            if seen == count:
                done.set_result(None)

        await reader.basic_qos(prefetch_count=READ_AHEAD)
        await reader.basic_consume(spec.name, on_message, arguments={"x-stream-offset": "next"})
        began = time.perf_counter()
        for _ in range(count // TOGETHER):
            for _ in range(TOGETHER):
                await room.acquire()
            await asyncio.gather(
                *(writer.basic_publish(body, routing_key=spec.name, wait=False) for _ in range(TOGETHER))
            )
        async with asyncio.timeout(PATIENCE_S):
            await done
        return time.perf_counter() - began


# --- ours ---


def settings() -> Settings:
    """An arbiter with the defaults and a hundred components."""
    members = tuple(f"exec-{each}" for each in range(100))
    return Settings(groups={"execution": GroupSettings(components=members)}, arbiter=ArbiterSettings(id="bench"))


@asynccontextmanager
async def arbiter(url: str) -> AsyncIterator[ArbiterProcess]:
    """One arbiter process in this loop."""
    process = ArbiterProcess(settings(), RabbitBroker([url], name="bench"))
    task = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        process.stop()
        await task


async def until(met: Callable[[], bool]) -> None:
    """Look every few milliseconds."""
    async with asyncio.timeout(PATIENCE_S):
        while not met():  # noqa: ASYNC110  # An event would cost what is measured.
            await asyncio.sleep(0.005)


async def start_up(url: str, last: int) -> float:
    """Seconds from the start of an arbiter until it has folded the record at offset `last`."""
    began = time.perf_counter()
    async with arbiter(url) as process:
        await until(lambda: process._core.offset >= last)
        return time.perf_counter() - began


async def hear(url: str, count: int) -> float:
    """Seconds in which a leader handles `count` heartbeats that wait in a queue; they name nobody to answer to."""
    async with arbiter(url) as process:
        await until(lambda: process._core.leading)
        heard = process.metrics.heartbeats_received._value
        before = heard.get()
        began = time.perf_counter()
        process._broker.subscribe(
            Subscription(queue=BEATS, on_delivery=lambda each: process._inbox.put(Source.HEALTH, each), no_ack=True),
            control=True,
        )
        await until(lambda: heard.get() - before >= count)
        return time.perf_counter() - began


async def append(url: str, body: bytes, count: int) -> float:
    """Seconds in which our Journal appends `count` records, at most IN_FLIGHT ahead, and reads them back."""
    await fresh(url, JOURNAL_STREAM)
    broker = RabbitBroker([url], name="bench", pending_max=2 * IN_FLIGHT)
    room, done, seen = asyncio.Semaphore(IN_FLIGHT), asyncio.get_running_loop().create_future(), 0

    def on_entry(delivery: Delivery) -> None:
        nonlocal seen
        seen += 1
        delivery.ack()
        room.release()
        if seen == count:
            done.set_result(None)

    journal = Journal(broker, "bench", on_entry=on_entry, in_flight=lambda: ())
    journal.read_from(0)
    await broker.start()
    await broker.wait_ready(30)
    began = time.perf_counter()
    for _ in range(count):
        await room.acquire()
        journal.append(body)
    async with asyncio.timeout(PATIENCE_S):
        await done
    took_s = time.perf_counter() - began
    await journal.close()
    await broker.close()
    return took_s


# --- the figures ---


async def fresh(url: str, *names: str) -> None:
    """These queues and streams anew, and all others that should be there."""
    connection = await aiormq.connect(url)
    version = version_of(broker_info(connection).version)
    for name in names:
        await (await connection.channel()).queue_delete(name)
    channel: Any = await connection.channel()
    await declare_everything(channel, version, 30)
    await declare_queue(channel, BEATS, version, 30)
    await connection.close()


async def beats(url: str, count: int) -> None:
    """Fill the queue of heartbeats."""
    await fresh(url, BEATS.name)
    broker = RabbitBroker([url], name="beats", pending_max=2_000)
    await broker.start()
    await broker.wait_ready(30)
    for at in range(0, count, 1_000):
        bodies = [
            Heartbeat(component=f"exec-{seq % 100}", incarnation="run-1", seq=seq, ready=True)
            for seq in range(at + 1, at + 1_001)
        ]
        await asyncio.gather(
            *(broker.submit(out(BEATS.name, encode(each), "heartbeat.v1", each.component)) for each in bodies)
        )
    await broker.close()


async def median_s(rounds: int, *works: Callable[[], Awaitable[float]]) -> list[float]:
    """The median seconds of each, taken in turn."""
    took = [[await work() for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*took, strict=True)]


def rates(count: int, ours_s: float, floor_s: float) -> dict[str, float | str]:
    """Messages per second of both; more is better."""
    ours, floor = count / ours_s, count / floor_s
    return {"ours": round(ours), "floor": round(floor), "ratio": round(ours / floor, 2), "unit": "1/s"}


async def measure(url: str, count: int, rounds: int) -> Figures:
    """All of it."""
    figures: Figures = {}
    replayed = min(count, REPLAYED)
    names = [each.name for each in QUEUES]
    say(f"filling a journal of {count} records")
    await fresh(url, *names)
    taken = await fill(url, count, count - BEHIND)
    ours_s, floor_s = await median_s(
        rounds, lambda: start_up(url, replayed - 1), lambda: raw_consume(url, JOURNAL_STREAM, replayed, 0)
    )
    figures["replay"] = rates(replayed, ours_s, floor_s)
    say(f"replay: {figures['replay']}")
    broker = RabbitBroker([url], name="snapshot")
    await broker.start()
    await broker.wait_ready(30)
    packed = pack(taken)
    await write(broker, "bench", packed)
    await broker.close()
    say(f"a snapshot of {sum(map(len, packed.bodies))} bytes in {len(packed.bodies)} parts")
    ours_s, floor_s = await median_s(
        rounds, lambda: start_up(url, count - 1), lambda: raw_consume(url, JOURNAL_STREAM, BEHIND, count - BEHIND)
    )
    figures["startup_million"] = {
        "ours": round(ours_s, 2),
        "floor": round(floor_s, 2),
        "ratio": round(ours_s / floor_s, 2),
        "unit": "s",
    }
    say(f"startup_million: {figures['startup_million']}")
    body = encode(Record(term=1, n=1, arbiter="bench#1", at_ns=1, fact=facts(1)[1]))
    ours_s, floor_s = await median_s(rounds, lambda: append(url, body, APPENDS), lambda: raw_append(url, body, APPENDS))
    figures["append_read_back"] = rates(APPENDS, ours_s, floor_s)
    say(f"append_read_back: {figures['append_read_back']}")
    figures |= await measure_heartbeats(url, rounds)
    return figures


async def measure_heartbeats(url: str, rounds: int) -> Figures:
    """One arbiter's path, beside both clients."""

    async def filled(work: Callable[[], Awaitable[float]]) -> float:
        await beats(url, HEARTBEATS)
        return await work()

    await fresh(url, *(each.name for each in QUEUES))
    ours_s, raw_s, pika_s = await median_s(
        rounds,
        lambda: filled(lambda: hear(url, HEARTBEATS)),
        lambda: filled(lambda: raw_consume(url, BEATS.name, HEARTBEATS, None)),
        lambda: filled(lambda: pika_consume(url, BEATS.name, HEARTBEATS)),
    )
    figures = {
        "heartbeats_consumed": rates(HEARTBEATS, ours_s, raw_s),
        "heartbeats_consumed_aio_pika": rates(HEARTBEATS, ours_s, pika_s),
    }
    for name, each in figures.items():
        say(f"{name}: {each}")
    return figures


async def run(count: int, rounds: int) -> Figures:
    """On a broker that is found or started."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    found = await find_broker(say=say)
    try:
        return await measure(found.url, count, rounds)
    finally:
        await found.stop()


def main() -> None:
    """Measure, print, merge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    results = asyncio.run(run(options.records, options.rounds))
    for name, each in results.items():
        sys.stdout.write(
            f"{name}: ours {each['ours']} {each['unit']}, floor {each['floor']} {each['unit']}, ratio {each['ratio']}\n"
        )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
