"""Search seeds for every mutation: `python tests/simulation/search.py [RUNS]` prints the first that catches each."""

import sys

import pytest
from catalogue import ALL_MUTATIONS
from mutations import Mutation


def first_seed(mutation: Mutation, runs: int) -> int | None:
    """The first seed below `runs` whose run, with the rule broken, violates what rests on it."""
    with pytest.MonkeyPatch.context() as patch:
        mutation.patch(patch)
        return next((seed for seed in range(runs) if mutation.rule in mutation.broken(seed)), None)


def main(runs: int) -> None:
    """Print a line for each mutation."""
    for mutation in ALL_MUTATIONS:
        found = first_seed(mutation, runs)
        sys.stdout.write(f"{mutation.name}: {'nothing' if found is None else found} of {runs}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
