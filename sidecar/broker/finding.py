"""One thing that was looked at on the broker, and how grave it is.

Owns the levels and their order. It must not look at anything itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "info", "warning", "critical"]
LEVELS: Final[tuple[Level, ...]] = ("ok", "info", "warning", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    `means` is what it means for trading, `mend` what to do about it; both are empty when it is ok.
    `unseen` says that it could not be looked at, so nothing is known.
    """

    level: Level
    subject: str
    text: str
    means: str = ""
    mend: str = ""
    unseen: bool = False


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many there are of each level, also of those that have none."""
    found = [each.level for each in findings]
    return {level: found.count(level) for level in LEVELS}


def critical(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The critical ones, a sentence each."""
    return tuple(f"{each.subject}: {each.text}" for each in findings if each.level == "critical")
