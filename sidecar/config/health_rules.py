"""The rules on pushed figures, as configured; the comparison is in `core/health_rules.py`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from sidecar.config.section import Section
from sidecar.core.health_rules import DEFAULTS, HealthRule

RULES_MAX = 64


class HealthRuleSettings(Section):
    """One rule. A rule of a default's name (errors, market-data, event-log, queue-stalled) replaces it."""

    metric: str = Field(min_length=1, max_length=128, description="The pushed figure.")
    above: float = Field(allow_inf_nan=False, description="Bad when it is above this. Higher is calmer and later.")
    status: Literal["DEGRADED", "CRITICAL"] = Field("DEGRADED", description="What the component then is.")
    unready: bool = Field(False, description="Whether it may then take no slot either.")


def health_rules(configured: Mapping[str, HealthRuleSettings]) -> tuple[HealthRule, ...]:
    """All rules in force, by name."""
    ours = {name: HealthRule(**dict(each)) for name, each in configured.items()}
    return tuple(rule for _, rule in sorted({**DEFAULTS, **ours}.items()))
