"""How far a halt has come: the acknowledgements, the arbiter's word, and what its measures came to.

Owns the count of one halt and what it means to be over. It must not send anything. Two words are never confused: closed
is about gates (ACCEPTED), completed about measures (COMPLETED), and the second is the arbiter's verdict: the component
says done, and the order table shows nothing open.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidecar.messages.control import CommandResult, Halt, HaltAccepted
from sidecar.messages.events import HaltStatus, SidecarStatus
from sidecar.messages.measures import MeasuresReport

ACCEPTED_MAX: Final = 100_000
"""Acknowledgements counted for one halt; the reply queue holds no more either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltProgress:
    """How far a halt has come. Times are CLOCK_BOOTTIME; those of other hosts compare only roughly.

    `roster` is None while no arbiter has said who there is; `journaled` is the arbiter's word that the halt is latched.
    `reports` are the sidecars' own words on the measures, `standing` the arbiter's on the whole halt, None while it has
    not spoken of it.
    """

    halt: Halt
    issued_ns: int
    accepted: dict[str, HaltAccepted]
    roster: tuple[SidecarStatus, ...] | None = None
    journaled: CommandResult | None = None
    reports: dict[str, MeasuresReport] = field(default_factory=dict)
    standing: HaltStatus | None = None
    trouble: str = ""

    @property
    def missing(self) -> tuple[SidecarStatus, ...]:
        """Sidecars of the roster that have not acknowledged."""
        return tuple(each for each in self.roster or () if each.component not in self.accepted)

    @property
    def told(self) -> bool:
        """The arbiter has spoken: on the journal, and on who there is."""
        return self.journaled is not None and self.roster is not None

    @property
    def answered(self) -> bool:
        """Everybody has spoken on the gates: the arbiter, and every sidecar of the roster."""
        return self.told and not self.missing

    @property
    def complete(self) -> bool:
        """The arbiter latched it and every sidecar of the roster acknowledged it."""
        return self.answered and self.journaled is not None and self.journaled.ok

    @property
    def completed(self) -> bool:
        """Every measure is done, by the arbiter's verdict; true of a halt without measures."""
        return not self.halt.measures or (self.standing is not None and not self.standing.incomplete_count)

    @property
    def over(self) -> bool:
        """Nothing is left to wait for: gates and measures are done, or the arbiter refused the halt."""
        return self.answered and (self.completed or not self.complete)

    @property
    def closed(self) -> tuple[HaltAccepted, ...]:
        """Acknowledgements of those it concerns, in the order of their gates' closing."""
        return tuple(
            sorted((each for each in self.accepted.values() if each.in_scope), key=lambda each: each.closed_ns)
        )

    @property
    def last_closed_ns(self) -> int | None:
        """From the issue to the last gate closed so far; None while there is none."""
        return self.closed[-1].closed_ns - self.issued_ns if self.closed else None


@dataclass(slots=True)
class HaltTally:
    """The mutable side of a `HaltProgress`; `changed` is set by whoever changes it."""

    halt: Halt
    issued_ns: int
    accepted: dict[str, HaltAccepted] = field(default_factory=dict)
    roster: tuple[SidecarStatus, ...] | None = None
    journaled: CommandResult | None = None
    reports: dict[str, MeasuresReport] = field(default_factory=dict)
    standing: HaltStatus | None = None
    trouble: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def progress(self) -> HaltProgress:
        """How it stands now."""
        return HaltProgress(
            halt=self.halt,
            issued_ns=self.issued_ns,
            accepted=dict(self.accepted),
            roster=self.roster,
            journaled=self.journaled,
            reports=dict(self.reports),
            standing=self.standing,
            trouble=self.trouble,
        )

    def add(self, accepted: HaltAccepted) -> None:
        """The first acknowledgement of each sidecar counts; repetitions come later and would flatter nobody."""
        if accepted.component not in self.accepted and len(self.accepted) < ACCEPTED_MAX:
            self.accepted[accepted.component] = accepted
            self.changed.set()

    def report(self, report: MeasuresReport) -> None:
        """The latest of each component counts; they may come in any order, and more than once."""
        known = self.reports.get(report.component)
        if known is None and len(self.reports) >= ACCEPTED_MAX:
            return
        if known is None or known.n < report.n:
            self.reports[report.component] = report
            self.changed.set()

    async def follow(
        self, timeout_s: float, over: Callable[[HaltProgress], bool], on_progress: Callable[[HaltProgress], None]
    ) -> None:
        """Tell of each change, until it is over or `timeout_s` has passed."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self.changed.clear()
                    progress = self.progress()
                    on_progress(progress)
                    if over(progress):
                        return
                    await self.changed.wait()
        except TimeoutError:
            return
