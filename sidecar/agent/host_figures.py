"""The figures of the host: processor, memory, disks, network, file descriptors.

Owns the reading and the rates between two readings. It must not know what is bad. psutil reads all but the host's table
of open files; in a container most of it is the host's and not the container's.

A figure that cannot be read is left out; a configured directory that cannot be looked at is told, because somebody
counts on it.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

FILE_TABLE: Final = Path("/proc/sys/fs/file-nr")
"""Linux, Documentation/admin-guide/sysctl/fs.rst: allocated, free, and the most there may be."""


class HostFigures:
    """Read from one thread at a time. `disks` are directories whose file systems are watched."""

    def __init__(self, disks: tuple[str, ...]) -> None:
        self._disks = disks
        self._totals: dict[str, float] = {}
        self._totals_ns = 0
        self._busy_s = self._all_s = 0.0

    def read(self, now_ns: int) -> tuple[dict[str, float], tuple[str, ...]]:
        """All that can be read at `now_ns`, and what is wrong with a configured directory. Rates need two readings."""
        figures = {"host_load_1m": os.getloadavg()[0]}
        with suppress(OSError, psutil.Error):
            figures["host_memory_ratio"] = psutil.virtual_memory().percent / 100
        with suppress(OSError, ValueError):
            allocated, _, most = map(int, FILE_TABLE.read_text(encoding="ascii").split())
            figures["host_open_files_ratio"] = allocated / most
        figures |= self._processor()
        figures |= self._rates(now_ns)
        problems = []
        fullest = -1.0
        for each in self._disks:
            try:
                fullest = max(fullest, psutil.disk_usage(each).percent / 100)
            except (OSError, ValueError) as error:
                problems.append(f"disk {each}: {getattr(error, 'strerror', None) or error}")
        if fullest >= 0:
            figures["host_disk_ratio"] = fullest
        return figures, tuple(problems)

    def _processor(self) -> dict[str, float]:
        """The share of all processors that was busy since the reading before."""
        times = psutil.cpu_times()
        all_s = sum(times[:8])  # Without guest times: they are in user time too.
        busy_s = all_s - times.idle - getattr(times, "iowait", 0.0)
        known, spent_s, worked_s = self._all_s > 0, all_s - self._all_s, busy_s - self._busy_s
        self._all_s, self._busy_s = all_s, busy_s
        return {"host_cpu_ratio": min(1.0, max(0.0, worked_s / spent_s))} if known and spent_s > 0 else {}

    def _rates(self, now_ns: int) -> Mapping[str, float]:
        """What was moved per second since the reading before."""
        totals = _totals()
        elapsed_s = (now_ns - self._totals_ns) / 1e9
        found = {}
        if self._totals and elapsed_s > 0:
            for name in totals.keys() & self._totals.keys():
                found[name] = max(0.0, totals[name] - self._totals[name]) / elapsed_s
        self._totals, self._totals_ns = totals, now_ns
        return found


def _totals() -> dict[str, float]:
    found: dict[str, float] = {}
    with suppress(OSError, RuntimeError):  # RuntimeError: psutil finds no disk, as in some containers.
        if (disk := psutil.disk_io_counters(nowrap=False)) is not None:
            found["host_disk_read_bytes_per_s"] = disk.read_bytes
            found["host_disk_written_bytes_per_s"] = disk.write_bytes
    with suppress(OSError):
        if (net := psutil.net_io_counters(nowrap=False)) is not None:
            found["host_network_received_bytes_per_s"] = net.bytes_recv
            found["host_network_sent_bytes_per_s"] = net.bytes_sent
            found["host_network_errors_per_s"] = net.errin + net.errout + net.dropin + net.dropout
    return found
