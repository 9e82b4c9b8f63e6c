"""What the gate refuses to run on."""

from pathlib import Path

import pytest

from sidecar.gate.host import boot_id, refuse_other_byte_orders
from sidecar.gate.layout import GateError


def test_big_endian_is_refused() -> None:
    """A host of the other byte order is refused with the reason."""
    with pytest.raises(GateError, match="little-endian"):
        refuse_other_byte_orders("big")


def test_boot_id() -> None:
    """One boot has one name of 16 bytes."""
    assert boot_id() == boot_id()
    assert len(boot_id()) == 16


@pytest.mark.parametrize("content", [None, "", "not a boot"])
def test_no_boot_id(tmp_path: Path, content: str | None) -> None:
    """A host that does not name its boot is refused with the reason."""
    if content is not None:
        (tmp_path / "boot_id").write_text(content)
    with pytest.raises(GateError, match="does not name this boot"):
        boot_id(tmp_path / "boot_id")
