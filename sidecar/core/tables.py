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

from sidecar.core.fills import NONE, Fills
from sidecar.core.log import Position
from sidecar.core.once_table import Effect, OnceTable
from sidecar.core.order import NO_ABSENCES, Order, fill_key
from sidecar.core.orders import BookParts
from sidecar.core.positions import DayResult, Exposure, NetPosition, Rate
from sidecar.messages.base import Token
from sidecar.messages.codec import encode
from sidecar.messages.control import Halt
from sidecar.messages.explain import Failover
from sidecar.messages.journal import (
    BreakOpened,
    DifferenceOpened,
    GroupPaused,
    GroupRegistered,
    IntegrityResolved,
    LimitsSet,
    MeasuresReported,
    OrderRefused,
    OrphanSeen,
    ResumeProposed,
    SlotDraining,
    StandbyStarting,
)
from sidecar.messages.order_queries import OpenBreak
from sidecar.messages.orders import ExecutionReport, OrderIntent, OrdStatus, Phase
from sidecar.messages.reconcile import StatementLine

if TYPE_CHECKING:
    from sidecar.core.state import State

T = TypeVar("T")

ROWS_MAX = 250
"""Orders in one piece: about a millisecond of encoding."""
NAMES_MAX = 5_000
"""ClOrdIDs in one piece."""


class OnceClock(msgspec.Struct, frozen=True, array_like=True):
    """Where the log's clock and the counters of execute-once stand; see `once_table.OnceTable`."""

    clock_ns: int = 0
    author: str = ""
    at_ns: int = 0
    looked_ns: int = 0
    contradicted: int = 0
    result_bytes: int = 0


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
    once_clock: OnceClock = OnceClock()
    openings: dict[str, tuple[StatementLine, ...]] = {}
    differences: dict[str, DifferenceOpened] = {}
    halt_versions: dict[str, int] = {}
    proposed: dict[str, ResumeProposed] = {}
    lifted_measures: dict[str, Halt] = {}
    limits: dict[str, LimitsSet] = {}
    dated: dict[str, int] = {}
    resolved: dict[str, IntegrityResolved] = {}


class OrderRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An `order.Order`; the executions' keys follow from the executions, and `cum_qty` from the fills."""

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
    fills: Fills = NONE
    cancel_by: str = ""
    replacing: str = ""
    replaced_by: str = ""
    superseded: bool = False
    adopted: bool = False
    closed: bool = False
    granted_ns: int = 0

    def order(self) -> Order:
        """The order that this row was made of."""
        told: dict[str, Any] = {each: getattr(self, each) for each in self.__struct_fields__ if each != "cum_qty"}
        told["executions"] = {fill_key(each): each for each in self.executions}
        told["absences"] = frozenset(self.absences) if self.absences else NO_ABSENCES
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


class OrphanRows(msgspec.Struct, frozen=True, tag="orphans"):
    """Reports without a ClOrdID, the oldest first."""

    rows: tuple[OrphanSeen, ...]


class ExposureRows(msgspec.Struct, frozen=True, tag="exposure", omit_defaults=True):
    """Figures that limits are compared with, of each table those that changed longest ago first; see `positions.py`."""

    positions: tuple[NetPosition, ...] = ()
    marks: dict[str, Decimal] = {}
    results: dict[str, DayResult] = {}
    rates: dict[str, Rate] = {}
    recent: dict[str, int] = {}


class RememberedNames(msgspec.Struct, frozen=True, tag="remembered"):
    """ClOrdIDs of orders that left memory, the oldest first."""

    names: tuple[str, ...]


class OnceRows(msgspec.Struct, frozen=True, tag="once"):
    """Side effects of execute-once: those under way in the order of their claims, then those done, the oldest first."""

    rows: tuple[Effect, ...]


class MeasuredRows(msgspec.Struct, frozen=True, tag="measured"):
    """Components' reports on measures, the oldest first."""

    rows: tuple[MeasuresReported, ...]


class OpenedRows(msgspec.Struct, frozen=True, tag="opened"):
    """Open breaks with both sides, those of the order that was found broken longest ago first."""

    rows: tuple[OpenBreak, ...]


Piece = (
    Tables
    | OrderRows
    | RefusedRows
    | ExternalRows
    | FinishedNames
    | RememberedNames
    | OrphanRows
    | ExposureRows
    | OnceRows
    | MeasuredRows
    | OpenedRows
)


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
            once_clock=_once_clock(state.once),
            openings=state.openings,
            differences=state.differences,
            halt_versions=state.halt_versions,
            proposed=state.proposed,
            lifted_measures=state.lifted_measures,
            limits=state.limits,
            dated=state.dated,
            resolved=state.resolved,
        )
    )
    yield from _order_pieces(book)
    for effects in (state.once.under_way, state.once.done):
        for once in _batched(effects.values(), ROWS_MAX):
            yield _line(OnceRows(once))
    for measured in _batched(state.measured.values(), ROWS_MAX):
        yield _line(MeasuredRows(measured))
    for opened in _batched((each for held in state.opened.values() for each in held), ROWS_MAX):
        yield _line(OpenedRows(opened))


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
    for orphans in _batched((each for held in book.orphans.values() for each in held), ROWS_MAX):
        yield _line(OrphanRows(orphans))
    yield from map(_line, _exposure_pieces(book.exposure))


def _exposure_pieces(exposure: Exposure) -> Iterator[ExposureRows]:
    for positions in _batched(exposure.positions.values(), ROWS_MAX):
        yield ExposureRows(positions=positions)
    for marks in _batched(exposure.marks.items(), ROWS_MAX):
        yield ExposureRows(marks=dict(marks))
    for results in _batched(exposure.results.items(), ROWS_MAX):
        yield ExposureRows(results=dict(results))
    for rates in _batched(exposure.rates.items(), ROWS_MAX):
        yield ExposureRows(rates=dict(rates))
    for recent in _batched(exposure.recent.items(), ROWS_MAX):
        yield ExposureRows(recent=dict(recent))


def _once_clock(once: OnceTable) -> OnceClock:
    return OnceClock(once.clock_ns, once.author, once.at_ns, once.looked_ns, once.contradicted, once.result_bytes)


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
        order.fills,
        order.cancel_by,
        order.replacing,
        order.replaced_by,
        order.superseded,
        order.adopted,
        order.closed,
        order.granted_ns,
    )


def _batched(rows: Iterable[T], most: int) -> Iterator[tuple[T, ...]]:
    rest = iter(rows)
    while batch := tuple(islice(rest, most)):
        yield batch
