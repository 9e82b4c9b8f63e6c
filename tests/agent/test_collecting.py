"""The collection beside the event loop: agent/collecting.py."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from sidecar_world import PATIENCE_S

from sidecar.agent import collecting
from sidecar.agent.clock import boottime_ns
from sidecar.agent.collecting import Collecting, Look
from sidecar.agent.file_ages import Stamp

NAME = "snapshot_age_s"


class News:
    """Counts looks."""

    def __init__(self) -> None:
        self.came = asyncio.Event()

    async def next(self) -> None:
        """The next one."""
        async with asyncio.timeout(PATIENCE_S):
            await self.came.wait()
        self.came.clear()


@contextlib.asynccontextmanager
async def collected(look: Callable[[], Look], age_files: dict[str, str]) -> AsyncIterator[tuple[Collecting, News]]:
    """A collection that runs with hardly a pause."""
    made, news = Collecting(look, age_files, 0.001), News()
    made.on_look = news.came.set
    running = asyncio.create_task(made.run())
    try:
        yield made, news
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_look_is_taken_in_another_thread() -> None:
    """No look runs in the thread of the event loop, and what it finds is told."""
    threads = []

    def look() -> Look:
        threads.append(threading.current_thread())
        return Look({"host_load_1m": 0.5}, ("disk /x: gone",), {NAME: Stamp(problem="no file")})

    async with collected(look, {NAME: "/x"}) as (made, news):
        await news.next()
        assert made.figures(boottime_ns())["host_load_1m"] == 0.5
        assert made.problems == ("disk /x: gone", f"{NAME}: no file")
    assert threading.main_thread() not in threads


async def test_a_look_that_hangs_is_told_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a look hangs no other is begun, its figures are gone, ages grow, and the loop goes on; then all is well."""
    released = threading.Event()
    begun: list[None] = []

    def look() -> Look:
        begun.append(None)
        if len(begun) == 2:
            released.wait(PATIENCE_S)
        return Look({"host_load_1m": 0.5})

    async with collected(look, {NAME: "/x"}) as (made, news):
        await news.next()
        monkeypatch.setattr(collecting, "LOOK_S", 0.02)  # Now only, so that a slow machine is not taken for a hang.
        await news.next()
        (problem,) = made.problems
        assert problem.startswith("figures: looking at the host and the files has hung")
        now_ns = boottime_ns()
        young, old = made.figures(now_ns), made.figures(now_ns + 10**9)
        assert young.keys() == {NAME}
        assert round(old[NAME] - young[NAME], 6) == 1.0
        assert len(begun) == 2
        released.set()
        await news.next()
        assert made.problems == ()
        assert "host_load_1m" in made.figures(boottime_ns())


async def test_a_look_that_fails_is_a_reason() -> None:
    """An error in a look ends nothing: it is said, and the next look is taken."""
    answers = iter([ValueError("odd"), None])

    def look() -> Look:
        if (error := next(answers, None)) is not None:
            raise error
        return Look()

    async with collected(look, {}) as (made, news):
        await news.next()
        assert "odd" in made.problems[0]
        await news.next()
        assert not made.problems
