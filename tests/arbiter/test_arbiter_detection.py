"""The arbiter's shell and silence: its canary crosses the broker, and everything that came is read before judging."""

import asyncio
from collections.abc import Callable

from arbiter_worlds import WAIT_S, attached, boot_ns, settings, world

from sidecar.arbiter.inbox import Source
from sidecar.arbiter.process import BATCH_MAX, ArbiterProcess
from sidecar.broker.interface import Broker, Delivery, Subscription
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.topology import HEALTH, heartbeat_queue
from sidecar.core.arbiter import Arbiter, Rules
from sidecar.core.outputs import Now, Origin, Output
from sidecar.messages.base import message_type
from sidecar.messages.codec import decode, encode
from sidecar.messages.control import StatusRequest
from sidecar.messages.detection import Canary, MemberSuspected
from sidecar.messages.events import SlotMoved, StatusReport
from sidecar.messages.health import Heartbeat, Released, StartFailed

Connect = Callable[[str], Broker]


async def test_silence_is_judged_by_an_arbiter_that_hears_itself(connect: Connect) -> None:
    """A silent holder is suspected first and loses its slot later, while the arbiter's canaries come round."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        active, standby = attached("exec-a"), attached("exec-b")
        await peer.beat(active, until=lambda: active.slots)
        await peer.beat(standby, until=lambda: standby.slots)
        # Events come by a queue of their own, in order, and perhaps after the lease that they tell of.
        moved = await peer.first(SlotMoved, lambda each: each.component == "exec-b")
        suspected = await peer.first(MemberSuspected, lambda each: each.component == "exec-a")
        assert peer.seen.index(suspected) < peer.seen.index(moved)
        await peer.command(StatusRequest(request_id="s1", actor="ops"), "status")
        silent = next(each for each in (await peer.first(StatusReport)).sidecars if each.component == "exec-a")
        assert silent.suspected
        assert silent.phi >= 8.0


async def test_canaries_cross_the_broker(connect: Connect) -> None:
    """Every arbiter's canary goes the way of heartbeats, again and again, and is nobody's dead letter."""
    async with world(connect) as (peer, arbiters):
        watcher, found, enough = connect("watcher"), dict[str, set[int]](), asyncio.Event()

        def saw(delivery: Delivery) -> None:
            message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
            if isinstance(message, Canary):
                found.setdefault(message.arbiter, set()).add(message.seq)
            if len(found) == 2 and min(map(len, found.values())) >= 3:
                enough.set()

        watcher.subscribe(Subscription(queue=heartbeat_queue("watcher", "1"), on_delivery=saw, no_ack=True))
        await watcher.start()
        arbiters.start("arbiter-1")
        arbiters.start("arbiter-2")
        try:
            async with asyncio.timeout(WAIT_S):
                await enough.wait()
        finally:
            await watcher.close()
        assert peer.dead == []


class Diary(Arbiter):
    """The real core; it notes how many heartbeats it had been handed when it was first asked to judge."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules, "arbiter-1#1", Now(boot_ns(), 0))
        self.handed = 0
        self.handed_before_judging: int | None = None
        self.judged = asyncio.Event()

    def on_health(self, message: Heartbeat | Released | StartFailed | Canary, origin: Origin, now: Now) -> list[Output]:
        """One more."""
        self.handed += not isinstance(message, Canary)
        return super().on_health(message, origin, now)

    def tick(self, now: Now) -> list[Output]:
        """Judgement."""
        if self.handed_before_judging is None:
            self.handed_before_judging = self.handed
        self.judged.set()
        return super().tick(now)


async def test_a_backlog_is_drained_before_silence_is_judged() -> None:
    """Of a backlog larger than two batches every heartbeat is heard before the first judgement."""
    process = ArbiterProcess(settings("arbiter-1"), MemoryBroker(MemoryHub(), name="arbiter-1"))
    process._core = diary = Diary(process._rules)
    backlog = 2 * BATCH_MAX + 50
    for seq in range(1, backlog + 1):
        beat = Heartbeat(component="exec-a", incarnation="exec-a~1", seq=seq, ready=True)
        process._inbox.put(Source.HEALTH, arrived(beat))
    running = asyncio.create_task(process.run())
    async with asyncio.timeout(WAIT_S):
        await diary.judged.wait()
    process.stop()
    assert await running == 0
    assert diary.handed_before_judging == backlog
    assert diary.roster.members["exec-a"].heartbeat.seq == backlog


def arrived(beat: Heartbeat) -> Delivery:
    """A heartbeat as the broker hands it over."""
    return Delivery(
        body=encode(beat),
        type=message_type(beat),
        app_id=beat.component,
        user_id=beat.component,
        message_id="",
        correlation_id="",
        reply_to="",
        exchange=HEALTH,
        routing_key=f"heartbeat.{beat.component}",
        redelivered=False,
        headers={},
    )
