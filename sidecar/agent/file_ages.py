"""How old files are: the event log, the snapshot, whatever the component writes and does not speak of.

Owns the ages between looks. It must not touch a file: `stamp` does, in a thread, and hands in what it saw.

An age is taken from the wall clock once, at the first sight of a file; from then on it is counted by CLOCK_BOOTTIME
since the look at which the file had changed, so that a step of the wall clock makes nothing young.

Which way it fails: to older. A file that is missing or cannot be looked at goes on ageing, from the beginning if it was
never seen, and that is a reason of its own.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stamp:
    """What one look at a file saw; `problem` is why it could not be seen. `mtime_ns` is of the wall clock."""

    mtime_ns: int = 0
    size: int = 0
    inode: int = 0
    problem: str = ""


def stamp(path: str) -> Stamp:
    """Look at the file now. It may block for as long as its file system does."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path.
        return Stamp(problem=f"{path}: {getattr(error, 'strerror', None) or error}")
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino)


@dataclass(slots=True)
class _Age:
    """`age_ns` as it was at `at_ns`; `last` is the newest good look."""

    age_ns: int
    at_ns: int
    last: Stamp | None = None
    problem: str = ""

    def grown_ns(self, now_ns: int) -> int:
        return self.age_ns + max(0, now_ns - self.at_ns)

    def saw(self, seen: Stamp, wall_ns: int, now_ns: int) -> None:
        self.problem = seen.problem
        if seen.problem or seen == self.last:
            age_ns = self.grown_ns(now_ns)
        else:
            age_ns = max(0, wall_ns - seen.mtime_ns)
            if self.last is not None and self.last.inode == seen.inode:
                # Written since the look before, so not older than that, whatever the wall clock says.
                age_ns = min(age_ns, now_ns - self.at_ns)
            self.last = seen
        self.age_ns, self.at_ns = age_ns, now_ns


class FileAges:
    """The ages of files by the names of their figures; `now_ns` is when we began to look."""

    def __init__(self, names: Iterable[str], now_ns: int) -> None:
        self._ages = {name: _Age(0, now_ns) for name in names}

    def saw(self, stamps: Mapping[str, Stamp], wall_ns: int, now_ns: int) -> None:
        """One look at every file, which was over at `now_ns`."""
        for name, seen in stamps.items():
            self._ages[name].saw(seen, wall_ns, now_ns)

    def at(self, now_ns: int) -> dict[str, float]:
        """The ages in seconds."""
        return {name: age.grown_ns(now_ns) / 1e9 for name, age in self._ages.items()}

    @property
    def problems(self) -> tuple[str, ...]:
        """The files that could not be looked at, each with why."""
        return tuple(f"{name}: {age.problem}" for name, age in self._ages.items() if age.problem)
