"""Figures of this very host and of processes that the test starts: host_figures.py, process_figures.py."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sidecar.agent.host_figures import HostFigures
from sidecar.agent.process_figures import TREE_MAX, TreeFigures, pid_in

S = 10**9


def test_the_host() -> None:
    """Every figure of the host is read, ratios from 0 to 1; what is a rate needs two readings."""
    host = HostFigures(("/",))
    first, problems = host.read(1 * S)
    assert problems == ()
    assert {"host_load_1m", "host_memory_ratio", "host_open_files_ratio", "host_disk_ratio"} <= first.keys()
    assert not {each for each in first if each.endswith("_per_s")}
    second, _ = host.read(2 * S)
    assert {"host_network_received_bytes_per_s", "host_network_errors_per_s"} <= second.keys()
    for figures in (first, second):
        assert all(0 <= value <= 1 for name, value in figures.items() if name.endswith("_ratio"))
        assert all(value >= 0 for value in figures.values())


def test_rates_are_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was moved between two readings is divided by the seconds between them, and a counter begun anew is 0."""
    totals = iter([{"host_x_per_s": 100.0}, {"host_x_per_s": 400.0}, {"host_x_per_s": 3.0}])
    monkeypatch.setattr("sidecar.agent.host_figures._totals", lambda: next(totals))
    host = HostFigures(())
    assert "host_x_per_s" not in host.read(10 * S)[0]
    assert host.read(12 * S)[0]["host_x_per_s"] == 150.0
    assert host.read(13 * S)[0]["host_x_per_s"] == 0.0


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """A configured directory that cannot be looked at is told, and the others are still watched."""
    figures, problems = HostFigures((str(tmp_path / "no"), "/")).read(S)
    assert problems == (f"disk {tmp_path / 'no'}: No such file or directory",)
    assert figures["host_disk_ratio"] > 0


def test_a_tree_is_summed() -> None:
    """A process and what it started are counted together."""
    grandchild = "import sys; print(flush=True); sys.stdin.read()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        tree, alone = TreeFigures().read(parent.pid, S), TreeFigures("x_").read(parent.pid, S, alone=True)
        parent.kill()
        parent.communicate()
    assert (tree["process_count"], alone["x_count"]) == (2, 1)
    assert tree["process_rss_bytes"] > alone["x_rss_bytes"] > 0
    assert tree["process_open_files"] > alone["x_open_files"] > 0
    assert 0 < tree["process_open_files_ratio"] < 1


def test_processor_time_is_by_time() -> None:
    """Processor time is that of the time between two readings: 1 is one processor, all of it."""
    tree = TreeFigures()
    assert "process_cpu_ratio" not in tree.read(os.getpid(), S, alone=True)
    before_s = sum(psutil.Process().cpu_times()[:2])
    while sum(psutil.Process().cpu_times()[:2]) < before_s + 0.03:
        pass
    spent = tree.read(os.getpid(), 2 * S, alone=True)["process_cpu_ratio"]
    assert 0.02 < spent < 0.5


def test_nobody() -> None:
    """A process that is not known, or is gone, has no figures."""
    assert TreeFigures().read(None, S) == {}
    assert TreeFigures().read(2**22 + 1, S) == {}


def test_a_great_tree_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processes there are, no more than the bound are read."""
    monkeypatch.setattr("sidecar.agent.process_figures._children", lambda pid: iter([os.getpid(), os.getppid()] * 500))
    assert TreeFigures().read(os.getpid(), S)["process_count"] == 2
    found = iter(range(10_000_000, 10_001_000))
    monkeypatch.setattr("sidecar.agent.process_figures._children", lambda pid: found)
    assert TreeFigures().read(os.getpid(), S)["process_count"] == 1
    assert next(found) < 10_000_000 + 2 * TREE_MAX


def test_pid_files(tmp_path: Path) -> None:
    """The first file that names a process counts; none is no process."""
    (tmp_path / "bad").write_text("nobody\n")
    (tmp_path / "good").write_text("7\n")
    assert pid_in([str(tmp_path / "no"), str(tmp_path / "bad"), str(tmp_path / "good")]) == 7
    assert pid_in([]) is None
