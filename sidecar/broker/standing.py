"""Keeping something up for ever: one attempt after the other, with backoff, jitter and a word on what is wrong.

Owns the retry policy of every link and every channel on it. It must not know what is being kept up.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from sidecar.broker.interface import TopologyConflict

FIRST_PAUSE_S = 0.1
"""The first pause is uniform in 0..this, and the bound doubles from there: full jitter, so that a thousand sidecars
do not come back in step (Brooker, Exponential Backoff and Jitter, AWS Architecture Blog 2015)."""

STABLE_S = 5.0
"""What stood this long starts again with the first pause; what fell sooner goes on backing off."""

log = logging.getLogger(__name__)


class Lost(Exception):
    """What stood no longer does; the text says why."""


class Standing:
    """Whether one thing is up, and if not, why. `changed` is called at each change."""

    def __init__(self, what: str, changed: Callable[[], None]) -> None:
        self.what = what
        self.trouble = f"{what} is not connected yet"
        self.conflict: TopologyConflict | None = None
        self.times_up = 0
        self._changed = changed
        self._up_since_s: float | None = None
        self._stood_s = 0.0

    @property
    def stands(self) -> bool:
        """Whether it is up now."""
        return self._up_since_s is not None

    def up(self) -> None:
        """It stands."""
        self._up_since_s = asyncio.get_running_loop().time()
        self.trouble = ""
        self.conflict = None
        self.times_up += 1
        self._changed()

    def down(self, reason: str) -> None:
        """It fell, or never stood. Whoever stood says so before it tells anybody else of the loss."""
        if self._up_since_s is not None:
            self._stood_s = asyncio.get_running_loop().time() - self._up_since_s
        self._up_since_s = None
        self.trouble = f"{self.what}: {reason}"
        self._changed()

    async def keep(self, live: Callable[[], Awaitable[None]], backoff_max_s: float) -> None:
        """Run `live` again and again, for ever. It calls `up()` once it stands and raises when it falls."""
        while True:
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(Exception),
                wait=wait_random_exponential(multiplier=FIRST_PAUSE_S, max=backoff_max_s),
                before_sleep=self._tell,
            )
            async for attempt in retrying:
                with attempt:
                    await self._once(live)
            # It stood long: begin anew, but still not in step with everybody else who lost the same node.
            await asyncio.sleep(random.uniform(0, FIRST_PAUSE_S))

    async def _once(self, live: Callable[[], Awaitable[None]]) -> None:
        self._stood_s = 0.0
        try:
            await live()
            heed_cancellation()
            raise Lost("it ended")
        except TopologyConflict as conflict:
            self.conflict = conflict
            self.down(str(conflict))
            raise
        except Exception as error:
            heed_cancellation()
            self.conflict = None
            self.down(describe(error))
            if self._stood_s < STABLE_S:
                raise
        except asyncio.CancelledError:
            self.down("the connection under it went")
            raise

    def _tell(self, _: RetryCallState) -> None:
        log.warning("%s; trying again", self.trouble)


def heed_cancellation() -> None:
    """Raise CancelledError when this task was cancelled and a library it awaited swallowed that.

    `asyncio.wait_for` before Python 3.12 does so when its future is done at the same moment (CPython issue 81839), and
    aiormq uses it within.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def describe(error: BaseException | None) -> str:
    """One line for people from whatever the client library raised."""
    if error is None:
        return "closed"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = " ".join(str(each) for each in error.args if each is not None) or type(error).__name__
    return text[:300]
