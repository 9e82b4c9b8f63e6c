"""The rules on figures, as configured; the comparison is in `core/health_rules.py`."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from sidecar.config.section import Section
from sidecar.core.component_figures import AGE
from sidecar.core.health_rules import DEFAULTS, HealthRule

RULES_MAX = 64
AGE_FILES_MAX = 16
AGE_PATTERN = f"^[a-z][a-z0-9_]{{0,100}}{AGE}$"
"""Names of ages that are taken from files."""


class HealthRuleSettings(Section):
    """One rule. A rule of a default's name (errors, market-data, event-log, queue-stalled) replaces it."""

    metric: str = Field(min_length=1, max_length=128, description="The figure: pushed, collected, or our own.")
    above: float | None = Field(
        None, allow_inf_nan=False, description="Bad when it is above this. Higher is calmer and later."
    )
    below: float | None = Field(
        None, allow_inf_nan=False, description="Bad when it is below this. Lower is calmer and later."
    )
    status: Literal["DEGRADED", "CRITICAL"] = Field("DEGRADED", description="What the component then is.")
    unready: bool = Field(False, description="Whether it may then take no slot either.")

    @model_validator(mode="after")
    def _some_bound(self) -> Self:
        if self.above is None and self.below is None:
            raise ValueError(f"the rule on {self.metric} has no bound: set above or below")
        return self


def health_rules(configured: Mapping[str, HealthRuleSettings]) -> dict[str, HealthRule]:
    """All rules in force, by name."""
    ours = {name: HealthRule(**dict(each)) for name, each in configured.items()}
    return dict(sorted({**DEFAULTS, **ours}.items()))
