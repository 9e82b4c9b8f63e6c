"""Rules on figures: which value of which metric makes a component DEGRADED or CRITICAL, and says so in words.

Owns the comparison and the defaults. It must not know where figures come from. Same figures, same findings: there is no
memory and no time in here, so a rule on age needs a figure that is an age (`component_figures.py` lets those grow).

Which way it fails: a figure that is not a number breaks its rule; one that nobody reports breaks none.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sidecar.messages.health import HealthStatus

SEVERITY: Mapping[HealthStatus, int] = {"HEALTHY": 0, "DEGRADED": 1, "CRITICAL": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule:
    """`metric` above `above`, or below `below`, is bad: `status`, and with `unready` the component may take no slot."""

    metric: str
    above: float | None = None
    below: float | None = None
    status: Literal["DEGRADED", "CRITICAL"] = "DEGRADED"
    unready: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule, in words."""

    rule: HealthRule
    text: str


DEFAULTS: Mapping[str, HealthRule] = {
    "errors": HealthRule(metric="errors_per_minute", above=10),
    "market-data": HealthRule(metric="market_data_age_s", above=300),
    "event-log": HealthRule(metric="event_log_age_s", above=600),
    "queue-stalled": HealthRule(metric="execution_queue_stalled", above=0, status="CRITICAL"),
}
"""What holds unless the configuration says otherwise of a rule of that name."""


def broken(rules: Iterable[HealthRule], metrics: Mapping[str, float]) -> tuple[Finding, ...]:
    """Each broken rule, in the order given."""
    found = []
    for rule in rules:
        value = metrics.get(rule.metric)
        if value is not None and (said := _against(rule, value)):
            found.append(Finding(rule, f"{rule.metric} is {said}"))
    return tuple(found)


def worst(status: HealthStatus, findings: Iterable[Finding]) -> HealthStatus:
    """The component's own status, or what a finding makes of it if that is worse."""
    return max((status, *(each.rule.status for each in findings)), key=SEVERITY.__getitem__)


def _against(rule: HealthRule, value: float) -> str:
    if math.isnan(value):
        return "not a number"
    if rule.above is not None and value > rule.above:
        return f"{value:g}, above {rule.above:g}"
    if rule.below is not None and value < rule.below:
        return f"{value:g}, below {rule.below:g}"
    return ""
