"""What a leading arbiter's memory does over more than a million orders: each granted, committed, filled, verified.

Owns the drive and its samples. The arbiter's whole core runs here, as the leader that it is in a process, over a
journal that only it reads: every message and record passes through its bytes, and time is virtual, a millisecond to an
order. A leader folds each record twice (what it has decided, and what it has read back), so its figures are the
largest. No broker and no archive are there: what leaves memory is in the stream, and in the archive's SQL.

Memory is bounded when two tables are full: FINISHED_MAX orders with their whole story, and behind those REMEMBERED_MAX
ClOrdIDs. A little later, when as many names were deleted as the table has room for, Python makes it once larger: a
dict that runs out of room takes that of three times its entries, so it never does again. Memory is sampled on the way
there and for as long beyond as was asked for.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Final, TypeVar

import msgspec
import psutil

from sidecar.core.arbiter import Arbiter, Rules
from sidecar.core.bounded import BATCHES
from sidecar.core.groups import Mode, plan_group
from sidecar.core.orders import FINISHED_MAX, REMEMBERED_MAX
from sidecar.core.outputs import Append, Now, Origin, Output, Reply
from sidecar.core.timing import MS, Timing
from sidecar.core.waits import Deadlines
from sidecar.messages.base import Message, Token, message_type
from sidecar.messages.codec import Malformed, decode, decode_record, encode
from sidecar.messages.control import Probe
from sidecar.messages.health import Heartbeat, Lease
from sidecar.messages.orders import Evidence, ExecutionReport, OrderCommitted, OrderGranted, OrderIntent

SAMPLED_EACH: Final = 50_000
FULL: Final = FINISHED_MAX + REMEMBERED_MAX + FINISHED_MAX // BATCHES
"""Orders after which no table has more entries."""
SETTLED: Final = FULL + 2 * REMEMBERED_MAX // 3
"""Orders after which Python's tables do not grow any more."""
COMPONENT: Final = "exec-a"
SYMBOLS: Final = 200
START_NS: Final = 10**18
Say = Callable[[str], None]
Figure = dict[str, float | str]
Kind = TypeVar("Kind")


class Sample(msgspec.Struct, frozen=True):
    """What there was after so many orders; the table is of what was decided, `rss_bytes` of the process."""

    orders: int
    rss_bytes: int
    whole: int
    names: int
    waiting: int


class Leader:
    """One arbiter's core that leads, and whose only component holds its slot."""

    def __init__(self) -> None:
        self._timing = Timing()
        plan = plan_group("execution", Mode.ACTIVE_PASSIVE, (COMPONENT,))
        self._now_ns, self._offset, self._beats, self._token = START_NS, -1, 0, Token(0, 0)
        self._granted = 0
        rules = Rules(name="arbiter-1", plans=(plan,), timing=self._timing, deadlines=Deadlines())
        self.core = Arbiter(rules, "arbiter-1#01234567", self._now)
        self._ask(Probe(arbiter=""))
        while not self._token.term:
            self._beat()
            self._pass(50)

    @property
    def _now(self) -> Now:
        return Now(self._now_ns, self._now_ns)

    def order(self, number: int) -> None:
        """One order's whole life. RuntimeError when it was not granted."""
        name, venue_name = f"{COMPONENT}-20261121-{number:08}", f"V-{number:08}"
        intent = _intent(name, number, self._token)
        self._ask(intent)
        if self._granted != number + 1:
            raise RuntimeError(f"order {number} was not granted")
        self._ask(OrderCommitted(component=COMPONENT, cl_ord_id=name, order_id=venue_name, ord_status="NEW"))
        for filled in (False, True):
            report = _report(intent, venue_name, filled=filled)
            self._ask(Evidence(reconciler="reconciler-1", source="drop_copy", report=report))
        self._now_ns += MS
        if number % 50 == 0:
            self._pass(0)
        if number % 250 == 0:
            self._beat()

    def sample(self, orders: int) -> Sample:
        """Now."""
        parts = self.core.state.book.parts()
        return Sample(
            orders=orders,
            rss_bytes=psutil.Process().memory_info().rss,
            whole=len(parts.orders),
            names=len(parts.remembered),
            waiting=self.core.state.book.open_count,
        )

    def _beat(self) -> None:
        self._beats += 1
        beat = Heartbeat(component=COMPONENT, incarnation="run-1", seq=self._beats, ready=True)
        self._do(self.core.on_health(_travelled(beat), Origin(reply_to="sidecar.reply.exec-a.1"), self._now))

    def _pass(self, ms: int) -> None:
        self._now_ns += ms * MS
        self._do(self.core.tick(self._now))

    def _ask(self, message: Message) -> None:
        origin = Origin(user="guest", reply_to="sidecar.reply.exec-a.1", handle=1)
        self._do(self.core.on_queue(_travelled(message), origin, self._now))

    def _do(self, outputs: list[Output]) -> None:
        """The shell: append, read back, and look at the answers."""
        for output in outputs:
            match output:
                case Append(_, body):
                    self._offset += 1
                    record = decode_record(body)
                    if isinstance(record, Malformed):
                        raise RuntimeError(record.text)
                    self._do(self.core.on_record(record, self._offset, self._now, body))
                case Reply(OrderGranted()):
                    self._granted += 1
                case Reply(Lease(slots=slots)) if slots:
                    self._token = slots[0].token
                case _:
                    pass


def _travelled(message: Kind) -> Kind:
    """The message as its receiver has it: made of bytes, and sharing nothing with the sender's."""
    if not isinstance(message, Message):
        raise TypeError(f"{message!r} does not travel")
    sender = getattr(message, message.SENDER)
    found = decode(encode(message), message_type(message), app_id=sender, user_id="guest")
    if not isinstance(found, type(message)):
        raise RuntimeError(f"{message!r} came as {found!r}")
    return found


def _intent(name: str, number: int, token: Token) -> OrderIntent:
    return OrderIntent(
        cl_ord_id=name,
        component=COMPONENT,
        incarnation="run-1",
        slot="execution/0",
        token=token,
        account="ACC-1",
        venue="SIM",
        symbol=f"SYM-{number % SYMBOLS}",
        side="BUY" if number // SYMBOLS % 2 else "SELL",
        qty=Decimal(100),
        price=Decimal("101.25"),
    )


def _report(intent: OrderIntent, order_id: str, *, filled: bool) -> ExecutionReport:
    done = intent.qty if filled else Decimal(0)
    return ExecutionReport(
        venue=intent.venue,
        account=intent.account,
        cl_ord_id=intent.cl_ord_id,
        order_id=order_id,
        exec_id=f"X-{order_id}-{int(filled)}",
        exec_type="TRADE" if filled else "NEW",
        ord_status="FILLED" if filled else "NEW",
        symbol=intent.symbol,
        side=intent.side,
        order_qty=intent.qty,
        cum_qty=done,
        leaves_qty=intent.qty - done,
        last_qty=done,
        last_px=Decimal("101.25") if filled else Decimal(0),
        avg_px=Decimal("101.25") if filled else Decimal(0),
    )


# --- what is made of it ---


async def measure(orders: int, say: Say) -> tuple[Figure, list[Sample]]:
    """`orders_memory`, from a process of its own, and the samples."""
    samples = []
    async for each in _sampled(orders):
        samples.append(each)
        say(
            f"{each.orders} orders: {each.rss_bytes / 2**20:.0f} MiB; {each.whole} whole, {each.names} names, "
            f"{each.waiting} waiting"
        )
    return _figure(samples), samples


async def _sampled(orders: int) -> AsyncIterator[Sample]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.orders.memory", str(orders), stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the drive has no pipe")
        async for line in process.stdout:
            yield msgspec.json.decode(line, type=Sample)
        if await process.wait():
            raise RuntimeError(f"the drive ended with {process.returncode}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _figure(samples: list[Sample]) -> Figure:
    """RSS in MiB at the end, beside that when the tables had settled, and what an order adds in each stretch."""
    filling = [each for each in samples if each.orders <= FINISHED_MAX]
    names = [each for each in samples if FINISHED_MAX + FINISHED_MAX // BATCHES <= each.orders <= FULL]
    flat = [each for each in samples if each.orders >= SETTLED]
    at = flat[0] if flat else samples[-1]
    return {
        "ours": round(samples[-1].rss_bytes / 2**20),
        "floor": round(at.rss_bytes / 2**20),
        "ratio": round(samples[-1].rss_bytes / at.rss_bytes, 3),
        "unit": "MiB",
        "orders": samples[-1].orders,
        "bytes_per_order_whole": round(slope(filling)),
        "bytes_per_order_names": round(slope(names)),
        "bytes_per_order_settled": round(slope(flat), 1),
        "orders_beyond": samples[-1].orders - at.orders,
    }


def slope(samples: list[Sample]) -> float:
    """Bytes that one more order costs, by least squares; 0 for fewer than two samples."""
    if len(samples) < 2:
        return 0.0
    middle = sum(each.orders for each in samples) / len(samples)
    mean = sum(each.rss_bytes for each in samples) / len(samples)
    above = sum((each.orders - middle) * (each.rss_bytes - mean) for each in samples)
    return above / sum((each.orders - middle) ** 2 for each in samples)


def drive(orders: int, each: int = SAMPLED_EACH) -> Iterator[Sample]:
    """A sample before the first order and after every so many."""
    leader = Leader()
    yield leader.sample(0)
    for number in range(orders):
        leader.order(number)
        if (number + 1) % each == 0:
            yield leader.sample(number + 1)


def main() -> None:
    """Samples, a line of JSON each."""
    for sample in drive(int(sys.argv[1])):
        sys.stdout.write(json.dumps(msgspec.to_builtins(sample)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
