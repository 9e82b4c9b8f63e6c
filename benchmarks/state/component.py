"""A component that hands over its state again and again, and begins with what its predecessor left.

Run as `python -m benchmarks.state.component SOCKET LOG BYTES INTERVAL_MS`. It appends a line to LOG for each state
that was answered (`put VERSION MADE_NS ANSWERED_NS`) and for what it finds when it is promoted (`found VERSION MADE_NS
LAST`); times are CLOCK_BOOTTIME. What is in the file survives the SIGKILL of this process.
"""

import asyncio
import os
import struct
import sys
import time
from pathlib import Path
from typing import Final

from sidecar.client import SidecarClient, SidecarError
from sidecar.client.errors import SessionLost

HEAD: Final = struct.Struct("!QQ")
"""Version and the time at which the state was made; the rest is noise."""
AGAIN_S: Final = 0.05


def now_ns() -> int:
    """CLOCK_BOOTTIME."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


async def act(client: SidecarClient, log: int, size: int, interval_s: float) -> None:
    """From promotion to the end of the session."""
    found = await client.get_state(wait_ms=500)
    version, made_ns = HEAD.unpack_from(found.state) if found else (0, 0)
    os.write(log, f"found {version} {made_ns} {found.last if found else None}\n".encode())
    due_s = time.monotonic()
    while True:
        version, made_ns = version + 1, now_ns()
        await client.put_state(HEAD.pack(version, made_ns) + os.urandom(size - HEAD.size), version)
        os.write(log, f"put {version} {made_ns} {now_ns()}\n".encode())
        due_s = max(due_s + interval_s, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())


async def main(socket: str, log: Path, size: int, interval_s: float) -> None:
    """Attach, wait, act; for ever."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    while True:
        try:
            async with SidecarClient(socket) as client, client.session() as session:
                await session.until_open()
                await act(client, descriptor, size, interval_s)
        except (SidecarError, SessionLost):
            await asyncio.sleep(AGAIN_S)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) / 1000))
