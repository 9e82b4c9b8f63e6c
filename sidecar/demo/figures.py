"""What the demo measured: the shape of `build/demo.json` and of the summary table.

Owns both. It must not measure.
"""

from pathlib import Path
from typing import Final

import msgspec
from rich.table import Table

from sidecar.messages.events import OrderCounts

EMBEDDED: Final = "embedded"
"""`started_by` of a run over the in-process broker."""


class BrokerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Which broker it ran on, and who started it."""

    version: str
    started_by: str


class OrderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Orders of this run: how many were granted and denied, and where the granted ones stood at the end."""

    granted: int
    denied: int
    verified: int
    aborted: int
    unknown: int
    broken: int


class DemoFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the demo. What each figure covers is written in docs/demo.md."""

    broker: BrokerFigures
    failover_ms: float
    halt_ms: float
    gates: int
    arbiter_takeover_ms: float
    leases_lost: int
    orders: OrderFigures


def order_figures(before: OrderCounts, after: OrderCounts, denied: int) -> OrderFigures:
    """The orders between two status reports. `denied` is counted where every denial passes, at the sidecars."""
    return OrderFigures(
        granted=after.granted - before.granted,
        denied=denied,
        verified=after.verified - before.verified,
        aborted=after.aborted - before.aborted,
        unknown=after.unknown - before.unknown,
        broken=after.broken - before.broken,
    )


def write_figures(figures: DemoFigures, path: Path) -> None:
    """Write them as JSON, making the directory if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")


def summary(figures: DemoFigures, holders: str) -> Table:
    """The summary table. `holders` is the verdict of the venue's audit."""
    table = Table(title="What happened", title_justify="left", show_header=False)
    table.add_column(justify="right")
    table.add_column()
    orders = figures.orders
    granted = f"{orders.verified} verified, {orders.aborted} aborted, {orders.unknown} unknown, {orders.broken} broken"
    rows = (
        (figures.broker.version, _broker_words(figures.broker)),
        (f"{figures.failover_ms:.1f} ms", "from the kill of the active component to the standby's open gate"),
        (f"{figures.halt_ms:.1f} ms", f"from the halt's issue to the last of {figures.gates} gates closed"),
        (f"{figures.arbiter_takeover_ms:.0f} ms", "from the kill of the leading arbiter to its successor's term"),
        (str(figures.leases_lost), "leases lost during the takeover"),
        (str(orders.granted), f"orders granted: {granted}"),
        (str(orders.denied), "orders denied"),
        ("", holders),
    )
    for row in rows:
        table.add_row(*row)
    return table


def _broker_words(broker: BrokerFigures) -> str:
    if broker.started_by == EMBEDDED:
        return "embedded broker, in this process: it survives nothing and says nothing about RabbitMQ"
    return f"RabbitMQ, by {broker.started_by}"
