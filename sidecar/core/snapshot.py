"""A snapshot's content: the folded state, and the times that this arbiter knows beside it.

Owns making a `State` of pieces again and what counts as a piece. It must not know how snapshots travel
(`journal/snapshots.py`) or when one is taken (`core/checkpoints.py`). What cannot be read raises SnapshotUnreadable; a
state is never made of half of it.

    pieces = pieces_of(state), then one line of Times     # The digest is over the first only.
"""

from collections.abc import Iterable

import msgspec

from sidecar.core.chronicle import Times
from sidecar.core.history import History
from sidecar.core.once_table import name_of
from sidecar.core.orders import BookParts, OrderBook, orphan_name
from sidecar.core.state import Holder, State, measured_key
from sidecar.core.tables import (
    ExposureRows,
    ExternalRows,
    FinishedNames,
    HolderRow,
    MeasuredRows,
    OnceClock,
    OnceRows,
    OpenedRows,
    OrderRows,
    OrphanRows,
    Piece,
    RefusedRows,
    RememberedNames,
    Tables,
)
from sidecar.messages.once import OnceState

FORMAT = 2
"""The version of all this. A reader ignores a snapshot of any other."""


_DECODER: msgspec.json.Decoder[Piece] = msgspec.json.Decoder(Piece)


class SnapshotUnreadable(Exception):
    """These pieces are no state; the text says why."""


class Taken(msgspec.Struct, frozen=True):
    """One state as it stood behind one record of the journal. `state` is a copy of its own.

    `write` says that it is to be written to the stream, and not only to be compared.
    """

    state: State
    times: Times
    offset: int
    at_ns: int
    write: bool


def state_of(pieces: Iterable[bytes]) -> State:
    """The state that `tables.pieces_of` wrote. Raises SnapshotUnreadable."""
    rest = iter(pieces)
    try:
        tables = _DECODER.decode(next(rest))
        if not isinstance(tables, Tables):
            raise SnapshotUnreadable("it does not begin with its tables")
        state = _small(tables)
        parts = BookParts(granted=tables.granted, denied=tables.denied, phases={**tables.phases})
        for line in rest:
            _add(parts, state, _DECODER.decode(line))
    except (msgspec.MsgspecError, UnicodeDecodeError, StopIteration) as error:
        raise SnapshotUnreadable(str(error)[:400] or "it is empty") from error
    state.book = OrderBook.of(parts)
    state.hold(*state.openings)
    return state


def times_of(line: bytes) -> Times:
    """The times beside a state. Raises SnapshotUnreadable."""
    try:
        return msgspec.json.decode(line, type=Times)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SnapshotUnreadable(str(error)[:400]) from error


def _small(tables: Tables) -> State:
    state = State()
    for name in set(vars(state)) & set(Tables.__struct_fields__):
        setattr(state, name, getattr(tables, name))
    state.holders = {slot: _holder(each) for slot, each in tables.holders.items()}
    state.last = {slot: _holder(each) for slot, each in tables.last.items()}
    state.history = History.of(tables.history_past, tables.history_open)
    for name in OnceClock.__struct_fields__:
        setattr(state.once, name, getattr(tables.once_clock, name))
    return state


def _add(parts: BookParts, state: State, piece: Piece) -> None:
    match piece:
        case OrderRows(rows):
            parts.orders.update((each.intent.cl_ord_id, each.order()) for each in rows)
        case RefusedRows(rows=refused):
            parts.refused.update((each.intent.cl_ord_id, each) for each in refused)
        case ExternalRows(rows=external):
            parts.external.update((each.cl_ord_id, each) for each in external)
        case OrphanRows(rows=orphans):
            for orphan in orphans:
                name = orphan_name(orphan.report)
                parts.orphans[name] = (*parts.orphans.get(name, ()), orphan)
        case ExposureRows():
            parts.exposure.restore(piece.positions, piece.marks, piece.results, piece.rates, piece.recent)
        case FinishedNames(names):
            parts.finished.update(dict.fromkeys(names))
        case RememberedNames(names):
            parts.remembered.update(dict.fromkeys(names))
        case OnceRows(rows=effects):
            for each in effects:
                table = state.once.done if each.state is OnceState.DONE else state.once.under_way
                table[name_of(each.kind, each.key)] = each
        case MeasuredRows(rows=measured):
            state.measured.update((measured_key(each.halt_id, each.component), each) for each in measured)
        case OpenedRows(rows=opened):
            for found in opened:
                state.opened[found.cl_ord_id] = (*state.opened.get(found.cl_ord_id, ()), found)
        case _:
            raise SnapshotUnreadable("it has its tables twice")


def _holder(row: HolderRow) -> Holder:
    return Holder(row.component, row.incarnation, row.token)
