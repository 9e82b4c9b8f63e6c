"""The folded state as bytes, piece by piece: what the digest is over, and what a snapshot carries.

Owns the one form of every folded table, in pieces small enough that encoding one holds nobody up for long. It must not
know transport or compression; `snapshot.py` makes a state of the pieces again.

A piece is one line of JSON. Tables are written in their own order, because order is folded too: the oldest entries of a
bounded table are the first to go. New fields have defaults; anything else is a new FORMAT in `snapshot.py`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from sidecar.core.log import Position
from sidecar.core.orders import BookParts, Order, fill_key
from sidecar.messages.base import Token
from sidecar.messages.codec import encode
from sidecar.messages.control import Halt
from sidecar.messages.explain import Failover
from sidecar.messages.journal import (
    BreakOpened,
    GroupPaused,
    GroupRegistered,
    OrderRefused,
    SlotDraining,
    StandbyStarting,
)
from sidecar.messages.orders import ExecutionReport, OrderIntent, OrdStatus, Phase

if TYPE_CHECKING:
    from sidecar.core.state import State

T = TypeVar("T")

ROWS_MAX = 250
"""Orders in one piece: about a millisecond of encoding."""
NAMES_MAX = 5_000
"""ClOrdIDs in one piece."""


class HolderRow(msgspec.Struct, frozen=True, array_like=True):
    """A `state.Holder`."""

    component: str
    incarnation: str
    token: Token


class Tables(msgspec.Struct, frozen=True, kw_only=True, tag="tables"):
    """All tables of a State that are small, each under its own name, and the counters of its order book."""

    position: Position
    holders: dict[str, HolderRow]
    epochs: dict[str, int]
    draining: dict[str, SlotDraining]
    last: dict[str, HolderRow]
    degraded: dict[str, str]
    paused: dict[str, GroupPaused]
    groups: Mapping[str, GroupRegistered]
    halts: dict[str, Halt]
    lifted: dict[str, None]
    control_version: int
    history_past: tuple[Failover, ...]
    history_open: dict[str, Failover]
    granted: int
    denied: int
    phases: dict[Phase, int]
    starting: dict[str, StandbyStarting] = {}  # msgspec copies an empty default for each value.


class OrderRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An `orders.Order`; the executions' keys follow from the executions."""

    intent: OrderIntent
    term: int
    n: int
    reported: bool
    lost: bool
    never_sent: bool
    order_id: str
    ord_status: OrdStatus | None
    venue_order_id: str
    venue_status: OrdStatus | None
    cum_qty: Decimal
    executions: tuple[ExecutionReport, ...]
    absences: tuple[str, ...]
    breaks: tuple[str, ...]

    def order(self) -> Order:
        """The order that this row was made of."""
        told: dict[str, Any] = {each: getattr(self, each) for each in self.__struct_fields__}
        told["executions"] = {fill_key(each): each for each in self.executions}
        told["absences"] = frozenset(self.absences)
        return Order(**told)


class OrderRows(msgspec.Struct, frozen=True, tag="orders"):
    """Orders in memory, in the order in which they were granted."""

    rows: tuple[OrderRow, ...]


class RefusedRows(msgspec.Struct, frozen=True, tag="refused"):
    """Denials that are repeated word for word."""

    rows: tuple[OrderRefused, ...]


class ExternalRows(msgspec.Struct, frozen=True, tag="external"):
    """Breaks of orders that are not ours."""

    rows: tuple[BreakOpened, ...]


class FinishedNames(msgspec.Struct, frozen=True, tag="finished"):
    """ClOrdIDs of finished orders, the oldest first."""

    names: tuple[str, ...]


class RememberedNames(msgspec.Struct, frozen=True, tag="remembered"):
    """ClOrdIDs of orders that left memory, the oldest first."""

    names: tuple[str, ...]


Piece = Tables | OrderRows | RefusedRows | ExternalRows | FinishedNames | RememberedNames


def pieces_of(state: "State") -> Iterator[bytes]:
    """Everything folded, one line at a time. The state must not change until the last piece was taken."""
    book, (past, open_) = state.book.parts(), state.history.parts()
    yield _line(
        Tables(
            position=state.position,
            holders={slot: _holder(each) for slot, each in state.holders.items()},
            epochs=state.epochs,
            draining=state.draining,
            last={slot: _holder(each) for slot, each in state.last.items()},
            degraded=state.degraded,
            paused=state.paused,
            groups=state.groups,
            halts=state.halts,
            lifted=state.lifted,
            control_version=state.control_version,
            history_past=tuple(past),
            history_open=open_,
            granted=book.granted,
            denied=book.denied,
            phases=book.phases,
            starting=state.starting,
        )
    )
    yield from _order_pieces(book)


def digest_of(pieces: Iterable[bytes]) -> str:
    """A hash over everything folded, equal wherever the same journal was read to the same position; hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for each in pieces:
        digest.update(each)
    return digest.hexdigest()


@cache
def form() -> str:
    """Names the fields that a digest is over: versions with other fields have other digests of the same state."""
    return digest_of([msgspec.json.encode(_undescribed(msgspec.json.schema(Piece)), order="sorted")])[:8]


def _undescribed(schema: Any) -> Any:
    """A schema without its words for people."""
    if isinstance(schema, dict):
        return {key: _undescribed(each) for key, each in schema.items() if key != "description"}
    return [_undescribed(each) for each in schema] if isinstance(schema, list) else schema


def _order_pieces(book: BookParts) -> Iterator[bytes]:
    for orders in _batched(book.orders.values(), ROWS_MAX):
        yield _line(OrderRows(tuple(map(_row, orders))))
    for refused in _batched(book.refused.values(), ROWS_MAX):
        yield _line(RefusedRows(refused))
    for external in _batched(book.external.values(), ROWS_MAX):
        yield _line(ExternalRows(external))
    for finished in _batched(book.finished, NAMES_MAX):
        yield _line(FinishedNames(finished))
    for remembered in _batched(book.remembered, NAMES_MAX):
        yield _line(RememberedNames(remembered))


def _line(piece: Piece) -> bytes:
    return encode(piece) + b"\n"


def _holder(holder: Any) -> HolderRow:
    return HolderRow(holder.component, holder.incarnation, holder.token)


def _row(order: Order) -> OrderRow:
    return OrderRow(
        order.intent,
        order.term,
        order.n,
        order.reported,
        order.lost,
        order.never_sent,
        order.order_id,
        order.ord_status,
        order.venue_order_id,
        order.venue_status,
        order.cum_qty,
        tuple(order.executions.values()),
        tuple(sorted(order.absences)),
        order.breaks,
    )


def _batched(rows: Iterable[T], most: int) -> Iterator[tuple[T, ...]]:
    rest = iter(rows)
    while batch := tuple(islice(rest, most)):
        yield batch
