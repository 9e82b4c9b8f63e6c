"""`python sidecar_alone.py`: a sidecar and who answers its heartbeats, in a process of their own that can be struck.

Prints the paths of its socket and its gate page, one a line, and then runs until it is killed.
"""

import asyncio
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from sidecar_world import world  # The path above leads to it.

from sidecar.telemetry.logs import configure_logs

TIMING = {"heartbeat_ms": 50, "holder_lease_ms": 1_000, "gate_to_effect_ms": 10, "holder_wait_ms": 1_200}


async def main() -> None:
    """For ever."""
    configure_logs("json", "warning")  # To standard error: standard output is for the two paths.
    async with world() as here, here.sidecar(timing=TIMING):
        sys.stdout.write(f"{here.socket}\n{here.gate}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
