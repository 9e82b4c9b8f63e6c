"""The probes of a component, as configured.

Owns their validation. What they amount to is in `core/probing.py`.
"""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from sidecar.config.section import Section
from sidecar.core.probing import ProbeRule, Purpose
from sidecar.core.timing import MS

PROBES_MAX = 32
KINDS = ("http", "tcp", "command", "process", "push")


class ProbeSettings(Section):
    """One probe: exactly one of `http`, `tcp`, `command`, `process` and `push`."""

    purpose: Purpose = Field(
        Purpose.READINESS,
        description="startup: the others wait for it. liveness: failing closes the gate and gives the slots back. "
        "readiness: failing keeps the component from taking a slot.",
    )
    http: str = Field("", description="URL to GET: any answer from 200 to 399 is good; redirects are not followed.")
    tcp: str = Field("", description="HOST:PORT to connect to.")
    command: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(
        (),
        max_length=64,
        description="Program and arguments, run as they stand, never by a shell; good when it exits with 0.",
    )
    process: bool = Field(
        False, description="The component's process is there, neither stopped nor a zombie: the child, or `pid_file`'s."
    )
    pid_file: str = Field("", description="For `process`: the file that holds the process id.")
    push: bool = Field(
        False,
        description="The component has pushed its health (POST /v1/health) within the period: finds one that hangs.",
    )
    period_ms: int = Field(
        1_000, ge=10, le=3_600_000, description="From one run's start to the next. Lower notices sooner and costs more."
    )
    timeout_ms: int = Field(
        1_000, ge=1, le=3_600_000, description="A run that takes longer is a bad one. Higher waits longer for a hang."
    )
    delay_ms: int = Field(0, ge=0, le=3_600_000, description="From the attaching of the component to the first run.")
    failures: int = Field(
        3, ge=1, le=1_000, description="Bad runs in a row until it fails. Higher is slower and calmer."
    )
    successes: int = Field(1, ge=1, le=1_000, description="Good runs in a row until it passes again.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [each for each in KINDS if getattr(self, each)]
        if len(kinds) != 1:
            raise ValueError(f"a probe is exactly one of {', '.join(KINDS)}; this one is {', '.join(kinds) or 'none'}")
        if self.pid_file and not self.process:
            raise ValueError("pid_file belongs to a probe with process: set process = true")
        if self.http and urlsplit(self.http).scheme not in ("http", "https"):
            raise ValueError(f"http is a URL like http://127.0.0.1:8081/live, not {self.http!r}")
        if self.tcp and not _port(self.tcp):
            raise ValueError(f"tcp is HOST:PORT like 127.0.0.1:8081, not {self.tcp!r}")
        return self

    def to_core(self, name: str) -> ProbeRule:
        """The same in nanoseconds."""
        return ProbeRule(
            name=name,
            purpose=self.purpose,
            period_ns=self.period_ms * MS,
            delay_ns=self.delay_ms * MS,
            failures=self.failures,
            successes=self.successes,
            pushed=self.push,
        )


def _port(place: str) -> bool:
    host, _, port = place.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65_536
