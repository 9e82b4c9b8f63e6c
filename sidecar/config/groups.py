"""One failover group as it stands in the configuration: the fields, and what each of them costs.

Owns the shape and the bounds. What a group may not say within itself is checked by `core/declared.py`, in the same
words for groups that are registered at run time.
"""

from typing import Literal, Self

import msgspec
from pydantic import Field, model_validator

from sidecar.config.section import Name, Section
from sidecar.core.declared import contradiction_within
from sidecar.core.groups import Mode
from sidecar.messages.groups import GroupDeclaration


class GroupSettings(Section):
    """One failover group."""

    mode: Mode = Field(Mode.ACTIVE_PASSIVE, description="How slots are distributed; see docs/leases.md.")
    components: tuple[Name, ...] = Field(min_length=1, max_length=256, description="Members, most preferred first.")
    active: int | None = Field(None, ge=1, description="n_plus_one: how many are active. Default: all but one.")
    partitions: tuple[Name, ...] = Field(
        (), max_length=1024, description="active_active and cluster: names of the slots. Default: one per component."
    )
    failback: Literal["manual", "delayed"] = Field(
        "manual", description="manual: a slot never goes back by itself. delayed: it does after failback_delay_ms."
    )
    failback_delay_ms: int = Field(
        60_000, ge=1_000, description="How long the preferred member must be ready first. Higher is calmer."
    )
    preference: dict[Name, Literal["prefer", "neutral", "never"]] = Field(
        default_factory=dict,
        description="By component; default neutral. prefer: before the others (the sharing modes ignore it). "
        "never: only when an operator names it. Among equals the order of components decides.",
    )
    min_active: int = Field(
        0,
        ge=0,
        description="With fewer slots held by a live member the group is degraded: new risk is denied with REDUCING. "
        "0 is off. Higher stops more members for the loss of one.",
    )
    block_window_ms: int = Field(
        10_000,
        ge=0,
        le=86_400_000,
        description="After a slot moved, failback and health leave its new holder alone for this long. Higher is "
        "calmer, and leaves a sick holder for longer. A vacant slot never waits for it.",
    )
    promotion_backoff_ms: int = Field(
        1_000,
        ge=0,
        le=3_600_000,
        description="A member that was granted a slot and lost it before it was heard to act is passed over for this "
        "long, twice as long after each further time. 0 is off. Higher leaves a slot vacant for longer.",
    )
    promotion_backoff_max_ms: int = Field(
        8_000,
        ge=0,
        le=86_400_000,
        description="The longest such backoff. Higher spares a crashing member, and leaves a lone one's slot vacant.",
    )
    unready_failover_ms: int = Field(
        2_000,
        ge=0,
        le=3_600_000,
        description="A holder that has said for this long that it is not ready is drained to a ready member. 0 is off. "
        "Higher tolerates longer dips.",
    )
    standby: dict[Name, Literal["hot", "warm", "cold"]] = Field(
        default_factory=dict,
        description="By component; default hot. Among equally preferred ones hot comes before warm before cold (the "
        "sharing modes ignore it). cold: nothing runs until no ready member could take a slot; then its sidecar is "
        "asked to run component.start. A cold one costs no machine time, and its start is added to the failover.",
    )
    start_limit_ms: int = Field(
        60_000,
        ge=100,
        le=3_600_000,
        description="A cold member that was asked to start and is not ready after this has failed, and the next one is "
        "asked. Higher waits longer for one that hangs. More than component.start_timeout_ms of its sidecar.",
    )

    state_lag_max_ms: int = Field(
        1_000,
        ge=0,
        le=3_600_000,
        description="A standby that is further behind in a slot's state (PUT /v1/state) than this is passed over for "
        "one that is not, whatever else is preferred; within it, preference decides first. Higher obeys preference "
        "for longer, and loses more.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        problem = contradiction_within(self.declared("NAME"))
        if problem:
            raise ValueError(problem)
        return self

    def declared(self, name: str) -> GroupDeclaration:
        """This group under its name, as the core and the wire take it."""
        return msgspec.convert({"name": name, **self.model_dump(mode="json")}, GroupDeclaration)
