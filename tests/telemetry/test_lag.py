"""The event-loop lag sampler."""

import asyncio
import contextlib
import time

from sidecar.telemetry.lag import sample_loop_lag


async def test_a_blocked_loop_shows() -> None:
    """A loop that was blocked for 50 ms is seen to lag by about that much."""
    seen: asyncio.Queue[float] = asyncio.Queue()
    sampler = asyncio.create_task(sample_loop_lag(seen.put_nowait, interval_s=0.001))
    try:
        async with asyncio.timeout(10):
            await seen.get()
            blocked_until_s = time.monotonic() + 0.05
            while time.monotonic() < blocked_until_s:
                pass  # Blocking the loop is what is being measured.
            while await seen.get() < 0.04:
                pass
    finally:
        sampler.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampler
