"""Side effects that several components want done, each once: what `agent/once.py` and a well-behaved caller do.

Owns the claims, the runs and the resolving of them, and the truth of what was done. Each errand has a key that all
components derive from the time, so that they race for it. A caller that was told RUN runs it before its limit is over,
or dies, or is silent about it; one that was told RESOLVE looks at the truth.

| rule                    | what would break it                                                      |
|-------------------------|--------------------------------------------------------------------------|
| run once                | a side effect happens a second time                                      |
| done is done            | a claim is answered DONE of what never happened                          |
"""

import random
from collections.abc import Callable

from sidecar.core.timing import MS
from sidecar.messages.base import Message
from sidecar.messages.once import OnceAnswer, OnceClaim, OnceOutcome, OnceRecorded, OnceReport, OnceVerdict
from sidecar.simulator.clocks import S
from sidecar.simulator.sidecar_host import SidecarHost

EACH_NS = 2 * S
"""Another errand comes up so often; components go on wanting it for a while."""
LATE_NS = 4 * S
LIMIT_NS = 1_500 * MS
RUN_NS = 1_200 * MS
AGAIN_NS = 500 * MS
TRIES = 4
"""So often a claim or a report is sent again before its sidecar gives it up."""
RESOLVERS, SILENT, GIVEN_UP, NOT_SURE = 0.4, 0.15, 0.1, 0.1
"""So many claimers can find out what became of an errand; so many runs end without a report, are not begun, or end
with a report that nobody knows."""


class Errands:
    """What was done, for all components of one run; `violated` is told (time, rule, text)."""

    def __init__(self, violated: Callable[[int, str, str], None]) -> None:
        self.done: dict[str, str] = {}
        self.claimed = 0
        self._violated = violated

    def happens(self, key: str, claim_id: str, now_ns: int) -> None:
        """A side effect is done."""
        if key in self.done:
            self._violated(now_ns, "run once", f"{key} is run by {claim_id}, and was by {self.done[key]}")
        self.done[key] = claim_id

    def told_done(self, key: str, now_ns: int) -> None:
        """Somebody is told that it was done."""
        if key not in self.done:
            self._violated(now_ns, "done is done", f"{key} never happened")


class Claimer:
    """One component's errands; `put` leads to arbiters."""

    def __init__(
        self,
        host: SidecarHost,
        dice: random.Random,
        errands: Errands,
        put: Callable[[Message, str, str], None],
        interval_ns: int,
    ) -> None:
        self._host = host
        self._dice = dice
        self._errands = errands
        self._put = put
        self._interval_ns = interval_ns
        self._claims: dict[str, tuple[OnceClaim, int, tuple[int, int]]] = {}
        self._reports: set[str] = set()
        host.on_once = self.hear

    def work_until(self, end_ns: int) -> None:
        """Claim something every now and then."""
        host, now_ns = self._host, self._host.agenda.now_ns
        if now_ns < end_ns:
            if host.alive and not host.stopped and host.core.incarnation:
                self._claim(f"errand-{(now_ns - self._dice.randrange(LATE_NS)) // EACH_NS}")
            host.agenda.after(self._dice.randrange(2 * self._interval_ns), self.work_until, end_ns)

    def hear(self, message: Message) -> None:
        """An answer or a receipt comes to the sidecar."""
        if isinstance(message, OnceRecorded):
            self._reports.discard(message.claim_id)
        elif isinstance(message, OnceAnswer) and message.claim_id in self._claims:
            claim, sent_ns, run = self._claims.pop(message.claim_id)
            if message.verdict is OnceVerdict.DONE:
                self._errands.told_done(claim.key, self._host.agenda.now_ns)
            elif message.verdict is OnceVerdict.RUN and run == self._run:
                self._begin(claim, sent_ns, run)
            elif message.verdict is OnceVerdict.RESOLVE and run == self._run:
                self._host.agenda.after(self._dice.randrange(RUN_NS), self._resolve, claim, sent_ns, run)

    # --- inside ---

    @property
    def _run(self) -> tuple[int, int]:
        """The present runs of the sidecar, which passes answers on, and of the component."""
        return self._host.life, self._host.deaths

    def _claim(self, key: str) -> None:
        self._errands.claimed += 1
        host = self._host
        claim = OnceClaim(
            component=host.name,
            incarnation=host.core.incarnation,
            claim_id=f"{host.name}.{self._errands.claimed}",
            kind="place",
            key=key,
            limit_ns=LIMIT_NS,
            resolves=self._dice.random() < RESOLVERS,
        )
        self._claims[claim.claim_id] = (claim, host.local_ns, self._run)
        self._ask(claim, TRIES)

    def _ask(self, claim: OnceClaim, left: int) -> None:
        if claim.claim_id not in self._claims:
            return
        if not left or self._claims[claim.claim_id][2] != self._run:
            del self._claims[claim.claim_id]  # Nobody hears the answer any more: nothing is run.
            return
        self._put(claim, self._host.name, self._host.name)
        self._host.agenda.after(AGAIN_NS, self._host.run, self._ask, claim, left - 1)

    def _begin(self, claim: OnceClaim, sent_ns: int, run: tuple[int, int]) -> None:
        if self._dice.random() < GIVEN_UP:
            self._tell(claim, "NOT_DONE", run)
        else:
            self._host.agenda.after(self._dice.randrange(RUN_NS), self._do, claim, sent_ns, run)

    def _do(self, claim: OnceClaim, sent_ns: int, run: tuple[int, int]) -> None:
        """It happens, unless the component has died or its time is over; the sidecar may be gone."""
        if run[1] != self._host.deaths:
            return
        if self._host.local_ns - sent_ns >= LIMIT_NS:
            self._tell(claim, "NOT_DONE", run)
            return
        self._errands.happens(claim.key, claim.claim_id, self._host.agenda.now_ns)
        roll = self._dice.random()
        if roll >= SILENT:
            self._tell(claim, "UNKNOWN" if roll < SILENT + NOT_SURE else "DONE", run)

    def _resolve(self, claim: OnceClaim, sent_ns: int, run: tuple[int, int]) -> None:
        if run[1] == self._host.deaths:
            self._tell(claim, "DONE" if claim.key in self._errands.done else "NOT_DONE", run)

    def _tell(self, claim: OnceClaim, outcome: OnceOutcome, run: tuple[int, int]) -> None:
        """Only to the sidecar that it claimed from."""
        if run == self._run:
            self._reports.add(claim.claim_id)
            report = OnceReport(
                component=claim.component, claim_id=claim.claim_id, kind=claim.kind, key=claim.key, outcome=outcome
            )
            self._host.run(self._repeat, report, TRIES, run)

    def _repeat(self, report: OnceReport, left: int, run: tuple[int, int]) -> None:
        if left and report.claim_id in self._reports and run[0] == self._host.life:
            self._put(report, self._host.name, self._host.name)
            self._host.agenda.after(AGAIN_NS, self._host.run, self._repeat, report, left - 1, run)
