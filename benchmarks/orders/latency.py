"""How long one order's pre-commit takes, one after the other, beside both floors and beside the way over the socket.

Owns the rounds and what is made of their times. All four are taken in turn in each round, so that whatever else the
machine does concerns each of them; each time another one begins. The pause before each lets the broker finish the last
one first: it writes an acknowledgement to disk after the answer is here, and the next question would wait for that.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from benchmarks.orders.raw import Raw
from benchmarks.orders.shapes import request
from benchmarks.orders.stage import Component, never_sent
from sidecar.messages.orders import OrderDenied, OrderGranted

PAUSE_S: Final = 0.003
WARM: Final = 50
"""Of each, before anything counts."""
Say = Callable[[str], None]


@dataclass(slots=True)
class Times:
    """Seconds of each kind."""

    rpc: list[float] = field(default_factory=list)
    append: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    http: list[float] = field(default_factory=list)


Figure = dict[str, float | str]


async def measure(component: Component, raw: Raw, rounds: int, orders: int, say: Say) -> dict[str, Figure]:
    """`precommit_p50` and `precommit_http_p50`: medians of the rounds' p50 and p99, in milliseconds."""
    await _round(component, raw, "rw", WARM)
    found = []
    for each in range(rounds):
        times = await _round(component, raw, f"r{each:02}", orders)
        found.append(times)
        rpc, append, inside, http = map(percentile_ms, (times.rpc, times.append, times.inside, times.http))
        say(
            f"round {each + 1} of {rounds}: RPC {rpc:.3f} + append {append:.3f} ms, pre-commit {inside:.3f} ms, "
            f"over HTTP {http:.3f} ms"
        )
    return {
        "precommit_p50": _figure([each.inside for each in found], found),
        "precommit_http_p50": _figure([each.http for each in found], found),
    }


async def _round(component: Component, raw: Raw, name: str, orders: int) -> Times:
    times = Times()
    works: list[tuple[list[float], Callable[[str], Awaitable[float]]]] = [
        (times.rpc, lambda _: raw.rpc()),
        (times.append, lambda _: raw.append()),
        (times.inside, lambda each: _timed(component.inside.precommit, each)),
        (times.http, lambda each: _timed(component.client.precommit, f"{each}h")),
    ]
    for at in range(orders):
        for turn in range(len(works)):
            took, work = works[(at + turn) % len(works)]
            await asyncio.sleep(PAUSE_S)
            took.append(await work(f"{component.name}-{name}-{at:05}"))
    await never_sent(component, [f"{component.name}-{name}-{at:05}{way}" for at in range(orders) for way in ("", "h")])
    return times


async def _timed(ask: Callable[..., Awaitable[OrderGranted | OrderDenied]], cl_ord_id: str) -> float:
    order = request(cl_ord_id)
    began_s = time.perf_counter()
    answer = await ask(order)
    took_s = time.perf_counter() - began_s
    if isinstance(answer, OrderDenied):
        raise RuntimeError(f"an order was denied: {answer.code}: {answer.text}")
    return took_s


def _figure(ours: list[list[float]], rounds: list[Times]) -> Figure:
    """Medians of the rounds; the floor is the sum of the two, the ratio the median of the rounds' own."""
    mine = [percentile_ms(each) for each in ours]
    rpcs, appends = [percentile_ms(each.rpc) for each in rounds], [percentile_ms(each.append) for each in rounds]
    rpc, append = statistics.median(rpcs), statistics.median(appends)
    ratios = [p50 / (one + other) for p50, one, other in zip(mine, rpcs, appends, strict=True)]
    slowest = [percentile_ms(each.rpc, 99) + percentile_ms(each.append, 99) for each in rounds]
    return {
        "ours": round(statistics.median(mine), 3),
        "floor": round(rpc + append, 3),
        "ratio": round(statistics.median(ratios), 2),
        "unit": "ms",
        "p99": round(statistics.median(percentile_ms(each, 99) for each in ours), 3),
        "floor_p99": round(statistics.median(slowest), 3),
        "rpc_p50": round(rpc, 3),
        "append_p50": round(append, 3),
    }


def percentile_ms(times: list[float], percent: int = 50) -> float:
    """A percentile by nearest rank, in milliseconds."""
    return sorted(times)[-(-percent * len(times) // 100) - 1] * 1_000
