"""Order traffic through the broker, from a process of its own.

Owns the pace and the messages: for each order an intent to the arbiters' queue (quorum), taken from there and
acknowledged; a record to the journal; a grant to the sidecar that is measured. It must not know halts. It runs with a
lower priority, because in a real system it is other hosts.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Final

import structlog
import uvloop

from sidecar.broker.interface import BrokerAway, Delivery, Outgoing, Subscription
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import ARBITER_QUEUE, JOURNAL_STREAM, ORDERS, QUEUES
from sidecar.messages.base import Token
from sidecar.messages.codec import encode
from sidecar.messages.journal import OrderPrecommitted, Record
from sidecar.messages.orders import OrderGranted, OrderIntent

TICK_S: Final = 0.01
"""Orders are sent in small bursts, as they come from a market's own bursts."""
WARM_S: Final = 1.0
START_S: Final = 30.0
STOP_S: Final = 60.0
PENDING_MAX: Final = 100_000


class Traffic:
    """`orders_per_s` orders, whose answers all go to the queue `replies`; `rate` is what it really came to."""

    def __init__(self, url: str, replies: str, orders_per_s: int) -> None:
        self.rate = 0.0
        self._arguments = (url, replies, str(orders_per_s))

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator["Traffic"]:
        """While it flows. Raises RuntimeError when it does not."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.halt_traffic",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the traffic has no pipes")
        try:
            if not await process.stdout.readline():
                raise RuntimeError(f"the order traffic ended with {await process.wait()}")
            yield self
            process.stdin.close()
            async with asyncio.timeout(STOP_S):
                self.rate = float(await process.stdout.readline() or 0)
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def intent(number: int) -> OrderIntent:
    """One order."""
    return OrderIntent(
        component="exec-0",
        incarnation="exec-0-1",
        cl_ord_id=f"exec-0-{number}",
        slot="bench/0",
        token=Token(1, 1),
        account="ACC-1",
        venue="SIM",
        symbol="XYZ",
        side="BUY",
        qty=Decimal(100),
        price=Decimal("101.25"),
    )


class Flow:
    """Sends the orders and answers them, over one broker connection of the house: its writes go out in batches."""

    def __init__(self, url: str, replies: str) -> None:
        self.answered = 0
        self._replies = replies
        self._broker = RabbitBroker([url], name="order traffic", pending_max=PENDING_MAX)
        queue = next(each for each in QUEUES if each.name == ARBITER_QUEUE)
        self._broker.subscribe(Subscription(queue=queue, on_delivery=self._decide))
        self._record = encode(
            Record(term=1, n=1, arbiter="bench#1", at_ns=time.time_ns(), fact=OrderPrecommitted(intent=intent(1)))
        )

    async def start(self) -> None:
        """Connect and consume."""
        await self._broker.start()
        await self._broker.wait_ready(START_S)

    async def close(self) -> None:
        """Leave."""
        await self._broker.close()

    async def run(self, orders_per_s: int) -> None:
        """For ever."""
        began_s, sent = time.monotonic(), 0
        while True:
            while sent < (time.monotonic() - began_s) * orders_per_s:
                sent += 1
                self._send(encode(intent(sent)), "order-intent.v1", ORDERS, "intent.exec-0", app_id="exec-0")
            await asyncio.sleep(TICK_S)

    def _decide(self, delivery: Delivery) -> None:
        """As an arbiter would, without deciding."""
        self.answered += 1
        answer = encode(OrderGranted(arbiter="bench", cl_ord_id=f"exec-0-{self.answered}", term=1, n=self.answered))
        self._send(self._record, "record.v1", "", JOURNAL_STREAM, app_id="bench")
        self._send(answer, "order-granted.v1", "", self._replies, app_id="bench")
        delivery.ack()

    def _send(self, body: bytes, kind: str, exchange: str, key: str, *, app_id: str) -> None:
        out = Outgoing(exchange=exchange, routing_key=key, body=body, type=kind, app_id=app_id)
        with contextlib.suppress(BrokerAway):  # Then the rate says so.
            self._broker.post(out)


async def flow(url: str, replies: str, orders_per_s: int) -> None:
    """Until stdin closes; says on stdout when it begins, and at the end how many orders a second it came to."""
    os.nice(10)
    quiet = structlog.make_filtering_bound_logger(40)
    structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    orders = Flow(url, replies)
    await orders.start()
    task = asyncio.create_task(orders.run(orders_per_s))
    await asyncio.sleep(WARM_S)
    tell("flowing")
    before, began_s = orders.answered, time.monotonic()
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait({asyncio.ensure_future(over), task}, return_when=asyncio.FIRST_COMPLETED)
    rate = (orders.answered - before) / (time.monotonic() - began_s)
    if task.done():
        task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    tell(f"{rate:.1f}")
    await orders.close()


def tell(line: str) -> None:
    """To the parent."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(flow(sys.argv[1], sys.argv[2], int(sys.argv[3])))
