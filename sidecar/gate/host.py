"""What the gate asks of the host: its byte order, and which boot this is.

Owns these two questions. CLOCK_BOOTTIME begins anew at each boot, so a page that outlived a reboot on a disk must not
open anything: pages carry the boot they were written in.
"""

import sys
import uuid
from pathlib import Path
from typing import Final

from sidecar.gate.layout import GateError

_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


def refuse_other_byte_orders(byteorder: str = sys.byteorder) -> None:
    """Raise GateError on a big-endian host: the page's words are loaded and stored whole, in the host's own order."""
    if byteorder != "little":
        raise GateError(
            f"the gate page needs a little-endian host, and this one is {byteorder}-endian: run it elsewhere"
        )


def boot_id(path: Path = Path(_BOOT_ID)) -> bytes:
    """The 16 bytes that name this boot of the kernel (source: proc_sys_kernel_random(5)); GateError without them."""
    try:
        return uuid.UUID(path.read_text().strip()).bytes
    except (OSError, ValueError):
        raise GateError(f"{path} does not name this boot: the gate page needs Linux with /proc mounted") from None
