"""The command line that the measurements in rounds share: which causes, how often, from which seed.

Owns the options and their bounds. It must not know what a cause is.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

Cause = TypeVar("Cause")
ROUNDS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Generic[Cause]):
    """One run: each of these causes, so many times."""

    rounds: int
    causes: tuple[Cause, ...]
    output: Path
    keep_logs: bool
    seed: int


def parse(
    arguments: Sequence[str], causes: Mapping[str, Cause], *, prog: str, what: str, output: Path
) -> Options[Cause]:
    """The options in a command line; it ends the process, with a sentence, when they are wrong."""
    parser = argparse.ArgumentParser(prog=prog, description=what)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each cause (default: 20)")
    parser.add_argument("--causes", default=",".join(causes), help=f"comma-separated, of {', '.join(causes)}")
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--keep", action="store_true", help="keep the logs of all processes")
    parser.add_argument("--seed", type=int, default=1, help="decides the moments of the strikes")
    given = parser.parse_args(arguments)
    names = given.causes.split(",")
    if unknown := sorted(set(names) - set(causes)):
        parser.error(f"no such cause: {', '.join(unknown)}")
    if not 1 <= given.rounds <= ROUNDS_MAX:
        parser.error(f"--rounds must be from 1 to {ROUNDS_MAX}")
    return Options(
        rounds=given.rounds,
        causes=tuple(causes[each] for each in names),
        output=given.output,
        keep_logs=given.keep,
        seed=given.seed,
    )
