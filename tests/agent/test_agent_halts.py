"""Halts at a running sidecar: closed, latched, acknowledged, and lifted only by the journal's word."""

import asyncio
import json
import shutil
import time
from pathlib import Path

import pytest
from sidecar_world import ARBITER, PATIENCE_S, World, world

from sidecar.client import Session, SidecarProblem
from sidecar.gate.reader import GateReader
from sidecar.messages.control import Halt, HaltAccepted, TradingState
from sidecar.messages.health import Heartbeat, Lease


async def closes(session: Session) -> str:
    """Why the gate closed, once it did."""
    async with asyncio.timeout(PATIENCE_S):
        async for status in session.changes():
            if not status.open:
                return status.reason
    return ""


async def test_halt_closes_then_accepts() -> None:
    """A halt is acknowledged after the page is closed, with the time of the closing."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        halt = here.arbiter.halt("group:execution")
        accepted = await here.arbiter.saw(HaltAccepted)
        assert not session.gate.check()
        assert (accepted.halt_id, accepted.in_scope) == (halt.halt_id, True)
        assert before_ns < accepted.closed_ns < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert accepted.trading_state is TradingState.HALTED
        assert "HALTED by arbiter-1" in await closes(session)


async def test_halt_of_others_leaves_the_gate_open() -> None:
    """A halt that does not concern the component is acknowledged as out of scope, and closes nothing."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.halt("group:market-data")
        assert not (await here.arbiter.saw(HaltAccepted)).in_scope
        assert session.gate.check()


async def test_halt_survives_a_restart() -> None:
    """A halt holds after the sidecar's restart, until an arbiter tells that it was lifted."""
    async with world() as here:
        async with here.sidecar():
            halt = here.arbiter.halt()
            await here.arbiter.saw(HaltAccepted)
        here.arbiter.forget()
        async with here.sidecar() as client, client.session() as session:
            status = await client.status()
            assert [each.halt_id for each in status.halts] == [halt.halt_id]
            assert status.gate.trading_state is TradingState.HALTED
            heartbeat = await here.arbiter.saw(Heartbeat, lambda each: each.incarnation == session.incarnation)
            assert [each.halt_id for each in heartbeat.unconfirmed_halts] == [halt.halt_id]
            assert not session.gate.check()
            here.arbiter.control(1, lifted=[halt.halt_id])
            await session.until_open(PATIENCE_S)


async def test_missed_control_state_keeps_the_gate_closed() -> None:
    """A lease that names a newer control state opens nothing until that state has arrived."""
    async with world() as here, here.sidecar() as client:
        here.arbiter.control_version = 7
        async with client.session() as session:
            heartbeat = await here.arbiter.saw(Heartbeat, lambda each: each.incarnation == session.incarnation)
            await here.arbiter.saw(Heartbeat, lambda each: each.seq > heartbeat.seq)
            assert not session.gate.check()
            here.arbiter.control(7)
            assert (await session.until_open(PATIENCE_S)).control_version == 7


async def test_halts_repeat_harmlessly() -> None:
    """A halt that comes again is acknowledged again and changes nothing."""
    async with world() as here, here.sidecar() as client:
        for _ in range(3):
            here.arbiter.halt()
        await here.arbiter.quiet()
        assert here.arbiter.count(HaltAccepted) == 3
        assert len((await client.status()).halts) == 1


async def test_what_is_not_on_disk_is_not_accepted() -> None:
    """A halt that the disk refuses closes the gate and is acknowledged only once it is latched there too."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        file = here.directory / "exec-a.state" / "control.json"
        file.unlink(missing_ok=True)
        (file / "in the way").mkdir(parents=True)
        halt = here.arbiter.halt()
        await here.arbiter.quiet()
        assert not session.gate.check()
        assert here.arbiter.count(HaltAccepted) == 0
        shutil.rmtree(file)
        here.arbiter.halt(halt_id=halt.halt_id)
        await here.arbiter.saw(HaltAccepted)


async def test_component_halts_everybody() -> None:
    """A component's halt closes its own gate first and goes to every sidecar and to the arbiters."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        halt = await client.halt("the model went mad")
        assert not session.gate.check()
        assert (halt.scopes, halt.actor) == (("all",), "exec-a")
        await here.arbiter.saw(Halt)
        assert {("sidecar.control", ""), ("sidecar.commands", "halt")} <= set(here.arbiter.routed)
        await here.arbiter.quiet()
        assert len(here.arbiter.dead) == 1  # The marker of quiet(): nobody's answer to the halt was refused.


async def test_component_halts_without_a_broker() -> None:
    """Without a broker a component's halt closes its own gate, says so, and reaches the arbiter with a heartbeat."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        assert here.broker is not None
        here.broker.cut()
        with pytest.raises(SidecarProblem, match="is in force here") as refused:
            await client.halt("the model went mad")
        assert refused.value.code == "NOT_PUBLISHED"
        assert not session.gate.check()
        here.arbiter.forget()
        here.broker.mend()
        heartbeat = await here.arbiter.saw(Heartbeat, lambda each: each.unconfirmed_halts)
        assert heartbeat.unconfirmed_halts[0].reason == "the model went mad"


async def test_component_cannot_lift() -> None:
    """A component's halt that would set ACTIVE is refused with the way to resume."""
    async with world() as here, here.sidecar() as client:
        with pytest.raises(SidecarProblem, match="lift the halt in force with resume") as refused:
            await client.halt("go on", level=TradingState.ACTIVE)
        assert refused.value.code == "WRONG_FIELD"


async def test_unreadable_file_halts() -> None:
    """When the latched halts cannot be read the component is HALTED, and the arbiter learns it."""
    async with world() as here:
        spoil(here)
        async with here.sidecar() as client, client.session() as session:
            heartbeat = await here.arbiter.saw(Heartbeat, lambda each: each.unconfirmed_halts)
            (halt,) = heartbeat.unconfirmed_halts
            assert halt.scopes == ("component:exec-a",)
            assert not GateReader(here.gate).check()
            here.arbiter.control(1, lifted=[halt.halt_id])
            await session.until_open(PATIENCE_S)


def spoil(here: World) -> Path:
    """Leave half a file where the latched halts are kept."""
    path = here.directory / "exec-a.state" / "control.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"version": 3})[:-4])
    return path


async def test_only_arbiters_grant() -> None:
    """Where arbiters are named, a lease or a control state from any other user is a dead letter."""
    others = {"arbiters": ["somebody-else"]}
    async with world() as here, here.sidecar(security=others) as client, client.session() as session:
        dead = await here.arbiter.buried()
        assert (dead.headers["original-type"], dead.headers["reason-code"]) == ("lease.v1", "wrong-sender")
        assert not session.gate.check()


async def test_named_arbiter_grants() -> None:
    """Where the arbiter is named, its leases open the gate."""
    async with world() as here, here.sidecar(security={"arbiters": [ARBITER]}) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        heartbeat = await here.arbiter.saw(Heartbeat)
        assert isinstance(here.arbiter.lease(heartbeat), Lease)
