"""One thread for calls that block: a database that hangs must not hold the event loop, nor the end of the process.

Owns the thread. It is a daemon, unlike those of an executor, which Python waits for at its end. It must not know what
it calls.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

END_S = 2.0
Result = TypeVar("Result")
_Call = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class OneThread:
    """Runs one call after the other, in the order in which they were handed in."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def call(self, function: Callable[[], Result]) -> Result:
        """What the function returns or raises. Cancelled, we go on and the call runs to its end unheard."""
        return await self._hand_in(function)

    async def end(self, last: Callable[[], None]) -> None:
        """Call `last` behind everything that was handed in, and end the thread; waits at most `END_S` for that."""
        done = self._hand_in(last)
        self._calls.put(None)
        await asyncio.wait((done,), timeout=END_S)
        done.cancel()

    def _hand_in(self, function: Callable[[], Result]) -> "asyncio.Future[Result]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        self._calls.put((function, done, loop))
        return done

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, done, loop = call
            try:
                result = function()
            except BaseException as error:
                _tell(loop, done, done.set_exception, error)
            else:
                _tell(loop, done, done.set_result, result)


def _tell(
    loop: asyncio.AbstractEventLoop, done: "asyncio.Future[Any]", settle: Callable[[Any], None], value: Any
) -> None:
    def now() -> None:
        if not done.done():
            settle(value)

    try:
        loop.call_soon_threadsafe(now)
    except RuntimeError:  # The loop is closed: nobody waits any more.
        return
