"""Execute-once at the sidecar: the claim to the arbiter, the wait for its answer, and the reports on the way there.

Owns the claims that wait, what became of late answers, and the reports that no arbiter has confirmed yet. It must not
decide who may run what. A RUN that comes after we gave up was never passed on, so nothing was done under it: it is
reported NOT_DONE. A claim for which no answer was had must not be run.
"""

import asyncio
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NoReturn

import structlog

from sidecar.agent.postbox import Postbox
from sidecar.broker.interface import BrokerAway
from sidecar.broker.topology import ORDERS
from sidecar.core.sidecar import Sidecar
from sidecar.core.timing import MS
from sidecar.messages.local import OncePush, OnceRequest
from sidecar.messages.once import OnceAnswer, OnceClaim, OnceOutcome, OnceRecorded, OnceReport, OnceVerdict
from sidecar.telemetry.metrics import BoundedCounter, SidecarMetrics

CLAIMS_MAX: Final = 1_000
"""Claims that wait for an answer at once. Higher lets one component flood the arbiter."""
REPORTS_MAX: Final = 10_000
"""Reports that are not recorded yet; one more is refused. Each holds a result of 8 KiB at most."""
GIVEN_UP_MAX: Final = 10_000
"""Claims whose late answer is still recognised. One that is not stays RUNNING and becomes UNKNOWN: closed."""
ATTEMPTS: Final = 2
REPEAT_INTERVAL_S: Final = 1.0
REPEATED_AT_ONCE_MAX: Final = 500


class OnceUnanswered(Exception):
    """Nothing may be run: no arbiter answered, or nothing could be sent. `code` is NO_ANSWER or NO_BROKER."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class OnceFull(Exception):
    """Too many claims or reports are under way; this one was not taken."""


@dataclass(slots=True)
class _Kept:
    report: OnceReport
    recorded: asyncio.Future[OnceRecorded]


class OnceDesk:
    """Claims and reports of one component."""

    def __init__(self, core: Sidecar, postbox: Postbox, metrics: SidecarMetrics, timeout_ms: int) -> None:
        self._core = core
        self._postbox = postbox
        self._attempt_s = timeout_ms / 1000 / ATTEMPTS
        self._verdicts = BoundedCounter(
            "sidecar_once_claims", "Claims of execute-once, by their answer.", "verdict", OnceVerdict, metrics.registry
        )
        self._waiting: dict[str, asyncio.Future[OnceAnswer]] = {}
        self._given_up: OrderedDict[str, None] = OrderedDict()
        self._kept: dict[str, _Kept] = {}
        self._log = structlog.get_logger(__name__)

    # --- claims ---

    async def claim(self, request: OnceRequest) -> OnceAnswer:
        """The arbiter's answer. Raises OnceUnanswered and OnceFull: then nothing may be run."""
        if len(self._waiting) >= CLAIMS_MAX:
            raise OnceFull(f"{CLAIMS_MAX} claims wait for an answer already")
        claim = OnceClaim(
            component=self._core.component,
            incarnation=self._core.incarnation,
            claim_id=f"{self._core.component}.{uuid.uuid4().hex}",
            kind=request.kind,
            key=request.key,
            limit_ns=request.limit_ms * MS,
            fingerprint=request.fingerprint,
            resolves=request.resolves,
        )
        answer = await self._exchange(claim)
        self._verdicts.inc(answer.verdict)
        return answer

    def on_answer(self, answer: OnceAnswer) -> None:
        """The arbiter's answer; what nobody waits for any more is given back."""
        waiting = self._waiting.get(answer.claim_id)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(answer)
        elif self._given_up.pop(answer.claim_id, self) is None:
            self._give_back(answer)

    async def _exchange(self, claim: OnceClaim) -> OnceAnswer:
        waiting: asyncio.Future[OnceAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[claim.claim_id] = waiting
        sent = False
        try:
            for _ in range(ATTEMPTS):
                sent = self._send(f"intent.{claim.component}", claim, claim.claim_id) or sent
                if not sent:
                    raise OnceUnanswered("NO_BROKER", f"the broker is away, nothing was sent: {self._postbox.trouble}")
                await asyncio.wait({waiting}, timeout=self._attempt_s)
                if waiting.done():
                    return waiting.result()
            raise OnceUnanswered("NO_ANSWER", "no arbiter answered in time: it must not be done")
        finally:
            del self._waiting[claim.claim_id]
            if sent and not waiting.done():
                self._given_up[claim.claim_id] = None
                if len(self._given_up) > GIVEN_UP_MAX:
                    self._given_up.popitem(last=False)

    def _give_back(self, answer: OnceAnswer) -> None:
        outcomes: dict[OnceVerdict, OnceOutcome] = {OnceVerdict.RUN: "NOT_DONE", OnceVerdict.RESOLVE: "UNKNOWN"}
        outcome = outcomes.get(answer.verdict)
        if outcome is None:
            return
        push = OncePush(
            claim_id=answer.claim_id,
            kind=answer.kind,
            key=answer.key,
            outcome=outcome,
            text="answered too late, never passed on",
        )
        try:
            self.keep(push)
        except OnceFull as error:
            self._log.error("a claim could not be given back", key=answer.key, error=str(error))

    # --- reports ---

    def keep(self, push: OncePush) -> asyncio.Future[OnceRecorded]:
        """Send a report and keep it until it is recorded; the future tells. Raises OnceFull."""
        known = self._kept.get(push.claim_id)
        if known is not None:
            return known.recorded  # A claim has one report; the first one counts.
        if len(self._kept) >= REPORTS_MAX:
            raise OnceFull(f"{REPORTS_MAX} reports wait to be journaled already")
        report = OnceReport(
            component=self._core.component,
            claim_id=push.claim_id,
            kind=push.kind,
            key=push.key,
            outcome=push.outcome,
            result=push.result,
            text=push.text,
        )
        kept = self._kept[push.claim_id] = _Kept(report, asyncio.get_running_loop().create_future())
        self._report(kept)
        return kept.recorded

    def on_recorded(self, recorded: OnceRecorded) -> None:
        """The arbiter's confirmation. Repetitions are ignored."""
        kept = self._kept.pop(recorded.claim_id, None)
        if kept is not None and not kept.recorded.done():
            kept.recorded.set_result(recorded)

    async def run(self) -> NoReturn:
        """Repeat what is not recorded, for ever; those that waited longest go to the end of the line."""
        while True:
            await asyncio.sleep(REPEAT_INTERVAL_S)
            for claim_id in list(self._kept)[:REPEATED_AT_ONCE_MAX]:
                kept = self._kept[claim_id] = self._kept.pop(claim_id)
                if not self._report(kept):
                    break

    async def drain(self, timeout_s: float) -> None:
        """Wait a little for what is under way, then name what is left: those effects become UNKNOWN."""
        if self._kept:
            await asyncio.wait([each.recorded for each in self._kept.values()], timeout=timeout_s)
        for kept in self._kept.values():
            self._log.error("a side effect's report was not recorded before we stopped", key=kept.report.key)

    def _report(self, kept: _Kept) -> bool:
        return self._send(f"report.{kept.report.component}", kept.report, kept.report.claim_id)

    def _send(self, key: str, message: OnceClaim | OnceReport, claim_id: str) -> bool:
        try:
            self._postbox.submit(ORDERS, key, message, correlation_id=claim_id)
        except BrokerAway:
            return False
        return True
