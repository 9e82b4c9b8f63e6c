"""What a halt makes this sidecar's component do, as configured: time limits and programs.

Owns their validation. What they amount to is in `core/measure_run.py`.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from sidecar.config.section import Section
from sidecar.core.measure_run import MeasureRules
from sidecar.core.timing import MS
from sidecar.messages.measures import Measure

_LIMIT = "Time limit; over it the measure is late, is asked on, and the next one begins. Higher delays what follows."
_COMMAND = (
    "A program and its arguments, run as they stand and never by a shell, when no component is attached or it does not "
    "answer within the limit. It exits with 0 when nothing is left to do; otherwise each line it prints names what is."
)
_ARGUMENTS_MAX = 64

Program = tuple[Annotated[str, StringConstraints(min_length=1)], ...]


class CancelSettings(Section):
    """Withdraw every open order in scope: the measure of `sidecar kill`."""

    limit_ms: int = Field(1_000, ge=10, le=600_000, description=_LIMIT)
    command: Program = Field((), max_length=_ARGUMENTS_MAX, description=_COMMAND)


class FlattenSettings(Section):
    """Close the positions in scope: the measure of `sidecar flatten`."""

    limit_ms: int = Field(1_500, ge=10, le=600_000, description=_LIMIT)
    command: Program = Field((), max_length=_ARGUMENTS_MAX, description=_COMMAND)


class PersistSettings(Section):
    """Have the component write its state where it keeps it: a part of `sidecar shutdown`."""

    limit_ms: int = Field(1_000, ge=10, le=600_000, description=_LIMIT)
    command: Program = Field((), max_length=_ARGUMENTS_MAX, description=_COMMAND)


class StopSettings(Section):
    """End the component: the last part of `sidecar shutdown`. It needs no program."""

    limit_ms: int = Field(
        1_000,
        ge=10,
        le=600_000,
        description="Between SIGTERM and SIGKILL for a component that this sidecar started. Higher waits longer for "
        "one that hangs.",
    )


class MeasuresSettings(Section):
    """What halts make the component do beside closing its gate; see docs/halts.md. In the order below."""

    cancel: CancelSettings = Field(default_factory=lambda: CancelSettings())
    flatten: FlattenSettings = Field(default_factory=lambda: FlattenSettings())
    persist: PersistSettings = Field(default_factory=lambda: PersistSettings())
    stop: StopSettings = Field(default_factory=lambda: StopSettings())
    retry_ms: int = Field(
        500, ge=10, le=600_000, description="Between askings of a measure that is not done. Lower loads the component."
    )

    @property
    def commands(self) -> dict[Measure, tuple[str, ...]]:
        """The configured programs."""
        each: dict[Measure, tuple[str, ...]] = {
            "cancel": self.cancel.command,
            "flatten": self.flatten.command,
            "persist": self.persist.command,
        }
        return {measure: command for measure, command in each.items() if command}

    def to_core(self) -> MeasureRules:
        """The same in nanoseconds."""
        return MeasureRules(
            limits_ns={
                "cancel": self.cancel.limit_ms * MS,
                "flatten": self.flatten.limit_ms * MS,
                "persist": self.persist.limit_ms * MS,
                "stop": self.stop.limit_ms * MS,
            },
            retry_ns=self.retry_ms * MS,
            programs=frozenset(self.commands),
        )
