"""What a halt makes components do beside closing their gates, and what came of it.

A *measure* is one such deed. `cancel` withdraws every open order in scope, `flatten` closes the positions, `persist`
writes the component's state where it keeps it, `stop` ends the component. They are done in that order, each with a
time limit, after the gate is closed.
"""

from typing import ClassVar, Final, Literal

import msgspec

from sidecar.messages.base import Message

Measure = Literal["cancel", "flatten", "persist", "stop"]
MEASURES: tuple[Measure, ...] = ("cancel", "flatten", "persist", "stop")
MeasureState = Literal["asked", "done", "failed", "late", "nobody"]
"""`asked`: in work. `late`: over its time limit and still asked. `nobody`: no component and no program is there."""
REMAINING_MAX: Final = 50
"""Names that one outcome lists; `remaining_count` is of all. Higher makes reports, records and status longer."""
REMAINING_BYTES_MAX: Final = 2 * 1024
"""Those names together, encoded."""


class MeasureOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one measure stands. `remaining` names what is still there: ClOrdIDs for cancel, symbols for flatten.

    `took_ns` is from its beginning to now, or to its end; `attempts` how often it was asked; `remaining_count` how many
    remain, named or not.
    """

    measure: Measure
    state: MeasureState
    took_ns: int = 0
    text: str = ""
    remaining: tuple[str, ...] = ()
    remaining_count: int = 0
    attempts: int = 0


class MeasuresReport(Message, frozen=True, kw_only=True, tag="measures-report.v1"):
    """One sidecar's word, to the issuer and to the arbiters, on the measures of one halt; `n` counts its reports.

    `completed` says that every measure is done by the component's own word. The arbiter compares the open orders it
    knows of, and journals both (COMPLETED, beside the ACCEPTED of `HaltAccepted`). Sent again every second until a
    `MeasuresRecorded` of this `n` comes back.
    """

    SENDER: ClassVar[str] = "component"
    component: str
    incarnation: str
    halt_id: str
    n: int
    completed: bool
    outcomes: tuple[MeasureOutcome, ...]


class MeasuresRecorded(Message, frozen=True, kw_only=True, tag="measures-recorded.v1"):
    """The leader's answer: the report `n` of this component on this halt is in the journal.

    A sidecar that has come to a lower `n` lost count with its disk, and goes on from this one. `complete` says that the
    component's word and the arbiter's order table agree that nothing is left to do.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    component: str
    halt_id: str
    n: int
    complete: bool = False


class MeasuresChanged(Message, frozen=True, kw_only=True, tag="measures-changed.v1"):
    """An event: how a component's measures stand, as journaled.

    `still_open` are orders in scope that are open by the arbiter's own table, whatever the component says;
    `still_open_count` is of all.
    """

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    component: str
    halt_id: str
    complete: bool
    outcomes: tuple[MeasureOutcome, ...]
    still_open: tuple[str, ...] = ()
    still_open_count: int = 0


class MeasuresStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One component's measures in a status report. `outcomes` are empty while its sidecar has reported nothing.

    `complete` is the arbiter's verdict: the component says done, and the order table shows none of its orders open.
    """

    component: str
    complete: bool
    outcomes: tuple[MeasureOutcome, ...] = ()
    still_open: tuple[str, ...] = ()
    still_open_count: int = 0
