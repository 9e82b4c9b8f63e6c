"""The venue's cancel-all-after timer, kept by a real reconciler at a real venue on a socket."""

import asyncio
import contextlib
import signal
import sys

import pytest
from venue_peer import WAIT_S, order, running_venue, venue_session

from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.config.models import Settings
from sidecar.demo.venue_behaviour import Behaviour
from sidecar.messages.venue import CancelAllAfter, Executed, OrderFound, OrderQuery, TimerSet, VenueAnswer
from sidecar.reconciler.adapter import NoAnswer, Unoffered
from sidecar.reconciler.process import Reconciler
from sidecar.reconciler.simulated import SimulatedVenue
from sidecar.reconciler.timer import TimerKeeper

RESTING = Behaviour(resting_percent=100, rejected_percent=0, slow_percent=0, lost_percent=0, partial_percent=0)


async def status(port: int, cl_ord_id: str) -> str:
    """How the venue says the order stands."""
    async with venue_session(port) as session:
        answer: VenueAnswer = await session.ask(OrderQuery(query_id="q", cl_ord_id=cl_ord_id))
    assert isinstance(answer, OrderFound)
    return answer.reports[-1].ord_status


async def until_cancelled(port: int, cl_ord_id: str) -> None:
    """Wait until the venue has cancelled it."""
    async with asyncio.timeout(WAIT_S):
        while await status(port, cl_ord_id) != "CANCELED":
            pass


async def test_the_venues_timer_cancels_the_account() -> None:
    """An armed timer that nobody renews cancels the open orders of its account, and a disarmed one does not."""
    async with running_venue(MemoryBroker(MemoryHub(), name="venue"), RESTING) as port:
        async with venue_session(port) as session:
            assert isinstance(await session.ask(order("a-1")), Executed)
            for after_ms in (60_000, 0, 1):
                answer = await session.ask(CancelAllAfter(query_id="t", account="ACC", after_ms=after_ms))
                assert answer == TimerSet(query_id="t", after_ms=after_ms)
        await until_cancelled(port, "a-1")


async def test_kept_armed_and_disarmed_on_a_planned_stop() -> None:
    """While the keeper runs the timer never fires, and a planned stop disarms it, so that the order outlives both."""
    async with running_venue(MemoryBroker(MemoryHub(), name="venue"), RESTING) as port:
        async with venue_session(port) as session:
            await session.ask(order("a-1"))
        adapter = Counting(f"127.0.0.1:{port}")
        keeper = TimerKeeper("SIM", adapter, 3)
        running = asyncio.create_task(keeper.run())
        async with asyncio.timeout(WAIT_S):
            await adapter.armed.wait()
        assert keeper.trouble == ""
        keeper.stop()
        async with asyncio.timeout(WAIT_S):
            await running
        assert adapter.told[-1] == 0
        assert set(adapter.told[:-1]) == {3_000}
        assert await status(port, "a-1") == "NEW"
        await adapter.close()


async def test_left_armed_by_a_forced_stop() -> None:
    """A keeper that is cancelled tells the venue nothing more, and the venue cancels."""
    async with running_venue(MemoryBroker(MemoryHub(), name="venue"), RESTING) as port:
        async with venue_session(port) as session:
            await session.ask(order("a-1"))
        armed = asyncio.Event()
        adapter = Counting(f"127.0.0.1:{port}", told_once=armed)
        running = asyncio.create_task(TimerKeeper("SIM", adapter, 1).run())
        async with asyncio.timeout(WAIT_S):
            await armed.wait()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await until_cancelled(port, "a-1")
        assert 0 not in adapter.told
        await adapter.close()


KEEPER = """
import asyncio, sys
from sidecar.reconciler.simulated import SimulatedVenue
from sidecar.reconciler.timer import TimerKeeper

class Told(SimulatedVenue):
    async def arm_timer(self, after_ms):
        await super().arm_timer(after_ms)
        print(after_ms, flush=True)

asyncio.run(TimerKeeper("SIM", Told(sys.argv[1], 5, account="ACC"), 1).run())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
async def test_left_armed_by_a_process_that_is_killed_or_hangs(end: signal.Signals) -> None:
    """A keeper's process that is killed, or stopped in its tracks, leaves the timer armed, and the venue cancels."""
    async with running_venue(MemoryBroker(MemoryHub(), name="venue"), RESTING) as port:
        async with venue_session(port) as session:
            await session.ask(order("a-1"))
        keeper = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KEEPER, f"127.0.0.1:{port}", stdout=asyncio.subprocess.PIPE
        )
        try:
            assert keeper.stdout is not None
            async with asyncio.timeout(WAIT_S):
                assert await keeper.stdout.readline() == b"1000\n"
            keeper.send_signal(end)
            await until_cancelled(port, "a-1")
        finally:
            with contextlib.suppress(ProcessLookupError):
                keeper.kill()
            await keeper.wait()


async def test_the_reconciler_keeps_it() -> None:
    """With `cancel_after_s` the reconciler arms the timer at its start and disarms it at its planned stop."""
    async with running_venue(MemoryBroker(MemoryHub(), name="venue"), RESTING) as port:
        venue = {"address": f"127.0.0.1:{port}", "account": "ACC", "cancel_after_s": 60}
        settings = Settings.model_validate({"venues": {"SIM": venue}})
        reconciler = Reconciler(settings, MemoryBroker(MemoryHub(), name="reconciler"))
        armed = asyncio.Event()
        adapter = Counting(f"127.0.0.1:{port}", told_once=armed)
        reconciler._timers = {"SIM": TimerKeeper("SIM", adapter, 60)}
        running = asyncio.create_task(reconciler.run())
        async with asyncio.timeout(WAIT_S):
            await armed.wait()
        reconciler.stop()
        await running
        assert adapter.told == [60_000, 0]
        await adapter.close()


async def test_a_venue_without_a_timer_says_so() -> None:
    """An adapter that has no timer gives no answer."""
    with contextlib.suppress(NoAnswer):
        await Unoffered().arm_timer(1)
        raise AssertionError("it was armed")


class Counting(SimulatedVenue):
    """Remembers what was confirmed; `armed` is set by the second confirmation, one renewal."""

    def __init__(self, address: str, told_once: asyncio.Event | None = None) -> None:
        super().__init__(address, WAIT_S, account="ACC")
        self.told: list[int] = []
        self.armed = asyncio.Event()
        self._told_once = told_once or asyncio.Event()

    async def arm_timer(self, after_ms: int) -> None:
        """As it is, and remembered."""
        await super().arm_timer(after_ms)
        self.told.append(after_ms)
        self._told_once.set()
        if len(self.told) == 2:
            self.armed.set()
