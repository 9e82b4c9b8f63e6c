"""How late the event loop runs its timers: the first sign of a process that can no longer keep its promises.

Owns one sampler. It must not know what is done with the samples.
"""

import asyncio
from collections.abc import Callable
from typing import NoReturn

SAMPLE_INTERVAL_S = 0.25


async def sample_loop_lag(observe_s: Callable[[float], None], *, interval_s: float = SAMPLE_INTERVAL_S) -> NoReturn:
    """Call `observe_s` with the seconds by which each sleep of `interval_s` overslept; runs until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        observe_s(max(0.0, loop.time() - due_s))
