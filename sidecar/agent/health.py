"""The sidecar's slow health: what its component says of itself, what is measured of it, and our own figures.

Owns the health report, the answer of GET /health, and the moments at which the rules are asked: at each push, at each
look, and often enough in between for the ages that grow. It must not decide who may act, nor know how a figure is
measured (`collecting.py`) or what is bad (`core/health_rules.py`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import msgspec
import structlog

from sidecar.agent.clock import boottime_ns
from sidecar.agent.collecting import Collecting
from sidecar.agent.gatekeeper import Gatekeeper
from sidecar.agent.inbox import Inbox
from sidecar.agent.postbox import Postbox
from sidecar.broker.interface import BrokerAway
from sidecar.broker.topology import HEALTH
from sidecar.core.component_figures import AGE, ComponentFigures
from sidecar.core.health_rules import Finding, HealthRule, broken, worst
from sidecar.core.sanity import clip
from sidecar.core.timing import Timing
from sidecar.messages.health import HealthReport, HealthStatus
from sidecar.messages.local import HealthPush
from sidecar.telemetry.endpoint import LastSnapshot

HEARTBEAT_REASONS_MAX: Final = 16
REPORT_REASONS_MAX: Final = 24
"""So that either stays below the bound of a message, whatever is said."""
JUDGE_S: Final = 0.25
"""Between two judgements while nothing happens: an age is noticed so much later than it passes its bound."""


class Health:
    """What we know of the component's health and our own. `rules` are by name."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        inbox: Inbox,
        postbox: Postbox,
        timing: Timing,
        rules: Mapping[str, HealthRule],
        collecting: Collecting,
    ) -> None:
        self._gatekeeper = gatekeeper
        self._inbox = inbox
        self._postbox = postbox
        self._lease_ns = timing.holder_lease_ns
        self._rules = dict(rules)
        self._collecting = collecting
        self._component = ComponentFigures(each.metric for each in rules.values())
        self._pushed = HealthPush()
        self._pushed_by = ""
        self._probed: tuple[str, ...] = ()
        self._told: frozenset[HealthRule] = frozenset()
        self._lag_s = 0.0
        self._begun_ns = boottime_ns()
        self._log = structlog.get_logger(__name__)
        self.found: Callable[[], tuple[str, ...]] = tuple
        """What else is wrong: the critical findings on the broker."""
        collecting.on_look = self.judge

    def notice(self, incarnation: str) -> None:
        """Which run of the component is attached now; an earlier one's word is no word on this one."""
        if incarnation != self._pushed_by:
            self._pushed, self._pushed_by = HealthPush(), incarnation
            self._component.forget()
            self.judge()

    def push(self, push: HealthPush) -> None:
        """The component's own word; it counts for the session of the moment only."""
        self._pushed = push
        self._component.push(push, boottime_ns())
        self.judge()

    def probed(self, reasons: tuple[str, ...]) -> None:
        """What the probes say against the component's readiness; empty when they find nothing."""
        self._probed = reasons
        self.judge()

    def observe_lag(self, lag_s: float) -> None:
        """One sample of how late our event loop ran."""
        self._lag_s = max(self._lag_s, lag_s)

    def figures(self) -> dict[str, float]:
        """Every figure as it stands now: pushed, collected, our own."""
        now_ns = boottime_ns()
        found = self._component.at(now_ns)
        for name, value in self._collecting.figures(now_ns).items():
            found[name] = max(value, found.get(name, value)) if name.endswith(AGE) else value
        found["sidecar_loop_lag_s"] = self._lag_s
        return {name: round(value, 6) for name, value in found.items()}

    def rules_broken(self) -> dict[str, bool]:
        """Each rule by name, and whether it is broken now."""
        found = {each.rule for each in self._findings()}
        return {name: rule in found for name, rule in self._rules.items()}

    def judge(self) -> None:
        """Ready is who says so, breaks no rule that forbids it, and passes its probes."""
        findings = self._findings()
        unready = tuple(each.text for each in findings if each.rule.unready)
        against = (*unready, *self._probed)
        only_bad = tuple(each.text for each in findings if not each.rule.unready)
        reasons = (*self._pushed.reasons, *against, *only_bad)
        self._gatekeeper.core.set_health(self._pushed.ready and not against, _clipped(reasons, HEARTBEAT_REASONS_MAX))

    def view(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]:
        """For GET /health: well while the broker and an arbiter answer us, and our disk takes halts."""
        reasons = self._troubles()
        details = {"gate": msgspec.to_builtins(self._gatekeeper.status()), "component": self._status(self._findings())}
        return not reasons, reasons, details

    def last_snapshot(self) -> LastSnapshot:
        """For GET /snapshot: how long ago the component saved its state, if that is known."""
        age_s = self.figures().get("snapshot_age_s")
        return LastSnapshot(of="component", known=age_s is not None, age_s=age_s)

    @property
    def up_ns(self) -> int:
        """How long this sidecar has been up."""
        return boottime_ns() - self._begun_ns

    def report(self) -> HealthReport:
        """How everything stands now."""
        core, findings = self._gatekeeper.core, self._findings()
        standing_by = () if core.incarnation else (core.standby_reason,)
        found = (*self._pushed.reasons, *(each.text for each in findings), *self._against(), *standing_by)
        return HealthReport(
            component=core.component,
            incarnation=core.incarnation,
            status=self._status(findings),
            reasons=_clipped(found, REPORT_REASONS_MAX),
            metrics=self.figures(),
        )

    async def run(self, interval_s: float) -> NoReturn:
        """Judge often, and publish a report each interval, for ever.

        A report that cannot be sent is skipped, as the next says more. The figure of the loop's lag is the greatest
        since the report before.
        """
        loop = asyncio.get_running_loop()
        due_s = loop.time() + interval_s
        while True:
            await asyncio.sleep(max(0.0, min(JUDGE_S, due_s - loop.time())))
            self.judge()
            self._tell(self._findings())
            if loop.time() < due_s:
                continue
            due_s = loop.time() + interval_s
            report, self._lag_s = self.report(), 0.0
            with contextlib.suppress(BrokerAway):
                self._postbox.submit(HEALTH, f"report.{report.component}", report, answered=False)

    # --- inside ---

    def _findings(self) -> tuple[Finding, ...]:
        return broken(self._rules.values(), self.figures())

    def _status(self, findings: tuple[Finding, ...]) -> HealthStatus:
        if not self._gatekeeper.core.incarnation:
            return "CRITICAL"
        status = worst(self._pushed.status, findings)
        return "DEGRADED" if status == "HEALTHY" and self._against() else status

    def _against(self) -> tuple[str, ...]:
        """What else speaks against being HEALTHY."""
        refused = self._component.refused
        beyond = (f"{len(refused)} figures are not kept, {refused[0]} among them: too many names",) if refused else ()
        return (*self._probed, *beyond, *self._collecting.problems, *self._troubles())

    def _tell(self, findings: tuple[Finding, ...]) -> None:
        """Once for each rule that breaks or holds again, not for each value, and not for each push: those may flood."""
        told, self._told = self._told, frozenset(each.rule for each in findings)
        for each in findings:
            if each.rule not in told:
                self._log.warning("a health rule is broken", finding=each.text, status=each.rule.status)
        for rule in told - self._told:
            self._log.info("a health rule holds again", metric=rule.metric)

    def _troubles(self) -> tuple[str, ...]:
        found = []
        if trouble := self._postbox.trouble:
            found.append(f"broker: {trouble}")
        elif boottime_ns() - self._inbox.answered_ns > self._lease_ns:
            found.append("no arbiter has answered a heartbeat for longer than a lease")
        if self._gatekeeper.unsaved:
            found.append("latched halts could not be written to disk")
        return (*found, *self.found())


def _clipped(reasons: tuple[str, ...], most: int) -> tuple[str, ...]:
    return tuple(map(clip, reasons[:most]))
