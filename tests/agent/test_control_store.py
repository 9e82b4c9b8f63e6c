"""The latched halts on disk."""

from pathlib import Path

import pytest

from sidecar.agent.control_store import FILE_NAME, ControlStore
from sidecar.core.ladder import ControlMemory
from sidecar.messages.control import Halt, TradingState

HALT = Halt(halt_id="h-1", scopes=("all",), level=TradingState.REDUCING, reason="r", actor="ops")


def test_first_start_has_no_halts(tmp_path: Path) -> None:
    """Without a file there are no halts."""
    assert ControlStore(tmp_path, "exec-a").load("run") == ControlMemory()


def test_halts_come_back(tmp_path: Path) -> None:
    """What was saved is loaded, confirmed and unconfirmed halts apart."""
    memory = ControlMemory(version=4, confirmed=(HALT,), unconfirmed=(HALT,))
    ControlStore(tmp_path, "exec-a").save(memory)
    assert ControlStore(tmp_path, "exec-a").load("run") == memory


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"version":"x"}', b'{"confirmed":[{}]}'])
def test_unreadable_file_is_a_halt(tmp_path: Path, content: bytes) -> None:
    """A file that cannot be read is a halt of the component, kept aside, and still a halt after the next start."""
    (tmp_path / FILE_NAME).write_bytes(content)
    memory = ControlStore(tmp_path, "exec-a").load("run")
    (halt,) = memory.unconfirmed
    assert (halt.scopes, halt.level, halt.reducing_allowed) == (("component:exec-a",), TradingState.HALTED, False)
    assert (tmp_path / "control.unreadable.json").read_bytes() == content
    assert ControlStore(tmp_path, "exec-a").load("next run") == memory


def test_directory_in_the_way_is_a_halt(tmp_path: Path) -> None:
    """Something that is no file where the halts should be is a halt too."""
    (tmp_path / FILE_NAME).mkdir()
    assert ControlStore(tmp_path, "exec-a").load("run").unconfirmed


def test_failed_save_is_remembered(tmp_path: Path) -> None:
    """Halts that the disk refuses are remembered as unsaved until they can be written."""
    store = ControlStore(tmp_path / "missing", "exec-a")
    memory = ControlMemory(version=1)
    store.save(memory)
    unsaved = store.unsaved
    (tmp_path / "missing").mkdir()
    store.save(memory)
    assert (unsaved, store.unsaved) == (memory, None)
    assert store.load("run") == memory
