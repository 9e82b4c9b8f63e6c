"""Ages of files, on clocks that do what they like: agent/file_ages.py."""

import os
from pathlib import Path

from sidecar.agent.file_ages import FileAges, Stamp, stamp

S = 10**9
WALL_NS = 1_800_000_000 * S
NAME = "event_log_age_s"


def age(files: FileAges, now_s: int) -> float:
    """At that second of CLOCK_BOOTTIME."""
    return files.at(now_s * S)[NAME]


def log(age_s: int, *, size: int = 1, inode: int = 1) -> Stamp:
    """A file as it was last written `age_s` before WALL_NS."""
    return Stamp(WALL_NS - age_s * S, size, inode)


def seen(*looks: tuple[Stamp, int, int]) -> FileAges:
    """After these looks: what was seen, seconds of the wall clock after WALL_NS, seconds of CLOCK_BOOTTIME."""
    files = FileAges([NAME], 0)
    for each, wall_s, now_s in looks:
        files.saw({NAME: each}, WALL_NS + wall_s * S, now_s * S)
    return files


def test_the_first_look_believes_the_wall_clock() -> None:
    """A file seen for the first time is as old as its last change, and ages from then on."""
    files = seen((log(90), 0, 5))
    assert (age(files, 5), age(files, 65)) == (90, 150)


def test_an_unchanged_file_ages_by_our_clock() -> None:
    """A wall clock that is set back does not make an unchanged file young, one that is set forward not old."""
    assert age(seen((log(90), 0, 5), (log(90), -3600, 15)), 15) == 100
    assert age(seen((log(90), 0, 5), (log(90), 3600, 15)), 15) == 100


def test_a_written_file_is_young() -> None:
    """A file that changed since the look before is no older than that look, even when the wall clock has jumped."""
    assert age(seen((log(90), 0, 5), (log(-8, size=2), 10, 15)), 15) == 2
    assert age(seen((log(90), 0, 5), (log(-8, size=2), 3600, 15)), 15) == 10


def test_a_replaced_file_is_as_old_as_it_says() -> None:
    """Another file under the same name, such as a restored copy, is not young for having been put there."""
    assert age(seen((log(90), 0, 5), (log(500, inode=2), 10, 15)), 15) == 510


def test_a_file_of_the_future_is_new() -> None:
    """A last change that is later than the wall clock counts as now."""
    assert age(seen((log(-50), 0, 5)), 6) == 1


def test_a_missing_file_ages() -> None:
    """A file that is not there ages from the beginning, one that went away from where it was, and both are told."""
    never = seen((Stamp(problem="no such file"), 0, 5))
    assert (age(never, 605), never.problems) == (605, (f"{NAME}: no such file",))
    gone = seen((log(90), 0, 5), (Stamp(problem="no such file"), 10, 15))
    assert (age(gone, 25), len(gone.problems)) == (110, 1)
    back = seen((log(90), 0, 5), (Stamp(problem="no such file"), 10, 15), (log(90), 20, 25))
    assert (age(back, 25), back.problems) == (110, ())


def test_stamps(tmp_path: Path) -> None:
    """A file that is there has a stamp, which changes when it is written; one that is not there says why."""
    path = tmp_path / "events.log"
    assert stamp(str(path)).problem == f"{path}: No such file or directory"
    path.write_text("one\n")
    os.utime(path, ns=(5, 7))
    first = stamp(str(path))
    assert (first.mtime_ns, first.size, first.problem) == (7, 4, "")
    path.write_text("one\ntwo\n")
    assert stamp(str(path)) != first
    assert "null" in stamp("a\0b").problem
