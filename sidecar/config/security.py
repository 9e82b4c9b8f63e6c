"""Who may do what, as configured.

Owns the lists of broker users and the rule how many of them lift a halt. What they amount to is in `core/senders.py`
and `core/halts.py`.
"""

from typing import Self

from pydantic import Field, model_validator

from sidecar.config.section import Section
from sidecar.core.senders import Senders


class SecuritySettings(Section):
    """Who may do what. The broker verifies user names."""

    operators: tuple[str, ...] = Field((), description="Broker users that may resume and fail over. Empty: nobody may.")
    resume_operators: int = Field(
        1,
        ge=1,
        le=2,
        description="How many operators must ask before a halt is lifted; 2 are two broker users. Higher opens later.",
    )
    resume_window_ms: int = Field(
        900_000,
        ge=1_000,
        le=86_400_000,
        description="How long the first of two requests stands. Higher gives the second operator more time.",
    )
    arbiters: tuple[str, ...] = Field(
        (),
        description="Broker users that may grant leases and speak for arbiters otherwise. Empty: only the user that "
        "the process itself connects as, which suits a broker with one user for all.",
    )
    reconcilers: tuple[str, ...] = Field(
        (), description="Broker users that may hand over a venue's evidence. Empty: as with arbiters."
    )
    auditors: tuple[str, ...] = Field(
        (), description="Broker users that only read the journal and the events; for `sidecar topology export`."
    )
    monitors: tuple[str, ...] = Field(
        (), description="Broker users for broker.management_url, with no other right; for `sidecar topology export`."
    )
    component_user: str = Field(
        "{component}",
        min_length=1,
        max_length=128,
        description="The broker user of each component; {component} stands for its name. What speaks for a component "
        "and comes from another user is refused. A name without {component} is one user for all of them, each of which "
        "can then speak for every other.",
    )
    venue_user: str = Field(
        "{venue}",
        min_length=1,
        max_length=128,
        description="The broker user of each venue's drop copy; {venue} stands for its name. As component_user.",
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.operators and len(set(self.operators)) < self.resume_operators:
            raise ValueError(
                f"resume_operators is {self.resume_operators} and operators names {len(set(self.operators))}: nobody "
                "could lift a halt; name one more broker user in operators"
            )
        return self

    def senders(self) -> Senders:
        """The rule of who may speak for whom."""
        return Senders(
            operators=frozenset(self.operators),
            arbiters=frozenset(self.arbiters),
            reconcilers=frozenset(self.reconcilers),
            component_user=self.component_user,
            venue_user=self.venue_user,
        )
