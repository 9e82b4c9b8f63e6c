"""How many orders a second pass pre-commit when many are under way, beside raw appends of the same records.

Owns the rounds. Several components ask at once, each with its share of IN_FLIGHT orders under way. Floor and ours in
turn; the record is the same, so is the number under way.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Final

from benchmarks.orders.raw import IN_FLIGHT, Raw
from benchmarks.orders.shapes import request
from benchmarks.orders.stage import Component, never_sent
from sidecar.messages.orders import OrderDenied

WARM: Final = 2_000
Say = Callable[[str], None]
Figure = dict[str, float | str]


async def measure(components: tuple[Component, ...], raw: Raw, rounds: int, orders: int, say: Say) -> dict[str, Figure]:
    """`order_throughput`: medians of the rounds, in orders a second."""
    await raw.appends(WARM)
    await _orders(components, "tw", WARM)
    ours, floor = [], []
    for each in range(rounds):
        floor.append(orders / await raw.appends(orders))
        ours.append(orders / await _orders(components, f"t{each:02}", orders))
        say(f"round {each + 1} of {rounds}: {ours[-1]:.0f} orders/s, {floor[-1]:.0f} raw appends/s")
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, floor, strict=True))
    return {
        "order_throughput": {
            "ours": round(statistics.median(ours)),
            "floor": round(statistics.median(floor)),
            "ratio": round(ratio, 2),
            "unit": "1/s",
        }
    }


async def _orders(components: tuple[Component, ...], name: str, orders: int) -> float:
    """Seconds in which all of them were granted."""
    each = orders // len(components)
    names = [[f"{component.name}-{name}-{at:05}" for at in range(each)] for component in components]
    began_s = time.perf_counter()
    await asyncio.gather(
        *(_flow(component, own, IN_FLIGHT // len(components)) for component, own in zip(components, names, strict=True))
    )
    took_s = time.perf_counter() - began_s
    await asyncio.gather(*(never_sent(component, own) for component, own in zip(components, names, strict=True)))
    return took_s


async def _flow(component: Component, names: list[str], in_flight: int) -> None:
    """All of one component's, at most so many at once."""
    rest = iter(names)

    async def work() -> None:
        for each in rest:
            answer = await component.inside.precommit(request(each))
            if isinstance(answer, OrderDenied):
                raise RuntimeError(f"an order was denied: {answer.code}: {answer.text}")

    await asyncio.gather(*(work() for _ in range(in_flight)))
