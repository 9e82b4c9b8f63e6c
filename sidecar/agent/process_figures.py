"""The figures of a process and all that it started: the component's tree, and our own process.

Owns the walk over the tree and the sums. It must not know whose process it is. The walk asks the kernel for the
children of each process (`/proc/PID/task/TID/children`), because psutil reads every process of the host to find them,
which takes fifty times as long. Where the kernel does not say them, only the first process is counted.

A process that is gone, or belongs to somebody else, is left out of the sums that cannot be read of it.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

TREE_MAX: Final = 64
"""Processes that are counted. Higher takes longer, about 0.5 ms each."""
TASKS_MAX: Final = 256
"""Threads of one process that are asked for children."""


class TreeFigures:
    """One tree, read from one thread at a time. Its figures are called `prefix` and what they are."""

    def __init__(self, prefix: str = "process_") -> None:
        self._prefix = prefix
        self._spent_s: dict[tuple[int, float], float] = {}
        self._read_ns = 0

    def read(self, pid: int | None, now_ns: int, *, alone: bool = False) -> dict[str, float]:
        """The sums at `now_ns`; empty when there is no such process. `alone` counts it without what it started."""
        found: dict[str, float] = {}
        spent_s: dict[tuple[int, float], float] = {}
        for each in [] if pid is None else [pid] if alone else list(_tree(pid)):
            with suppress(psutil.Error):
                self._add(psutil.Process(each), found, spent_s)
        if found:
            self._relate(found, pid, spent_s, now_ns)
        self._spent_s, self._read_ns = spent_s, now_ns
        return {f"{self._prefix}{name}": value for name, value in found.items()}

    def _add(self, process: psutil.Process, found: dict[str, float], spent_s: dict[tuple[int, float], float]) -> None:
        with process.oneshot():
            times = process.cpu_times()
            spent_s[process.pid, process.create_time()] = times.user + times.system
            own = {"count": 1.0, "rss_bytes": process.memory_info().rss, "threads": process.num_threads()}
        with suppress(psutil.AccessDenied):  # The open files of another user's process are not ours to see.
            own["open_files"] = process.num_fds()
        for name, value in own.items():
            found[name] = found.get(name, 0.0) + value

    def _relate(
        self, found: dict[str, float], pid: int | None, spent_s: dict[tuple[int, float], float], now_ns: int
    ) -> None:
        """Processor time since the reading before, 1 for one whole processor, and open files of those allowed."""
        if self._spent_s and now_ns > self._read_ns:
            worked_s = sum(max(0.0, each - self._spent_s.get(key, 0.0)) for key, each in spent_s.items())
            found["cpu_ratio"] = worked_s / ((now_ns - self._read_ns) / 1e9)
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            most, _ = process.rlimit(psutil.RLIMIT_NOFILE)
            if most > 0:
                found["open_files_ratio"] = process.num_fds() / most


def pid_in(files: Iterable[str]) -> int | None:
    """The process that the first readable one of these files names."""
    for each in files:
        with suppress(OSError, ValueError):
            return int(Path(each).read_text(encoding="ascii"))
    return None


def _tree(pid: int) -> Iterator[int]:
    """The process and what descends from it, nearest first, each once."""
    waiting, seen = [pid], {pid}
    while waiting:
        yield (each := waiting.pop(0))
        for child in _children(each):
            if len(seen) == TREE_MAX:
                break
            if child not in seen:
                seen.add(child)
                waiting.append(child)


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError, ValueError):
        for n, task in enumerate(Path(f"/proc/{pid}/task").iterdir()):
            if n == TASKS_MAX:
                return
            with suppress(OSError):
                yield from map(int, (task / "children").read_text(encoding="ascii").split())
