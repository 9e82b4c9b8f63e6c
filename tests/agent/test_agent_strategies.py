"""The states of strategies at a running sidecar."""

import pytest
from sidecar_world import PATIENCE_S, world

from sidecar.agent import own_halts
from sidecar.client import SidecarProblem
from sidecar.messages.control import Halt, TradingState


async def test_an_illegal_step_halts_its_strategy() -> None:
    """A strategy that goes where nothing legal leads is halted here and for everybody, until an operator lifts it."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        await client.push_health(strategies={"maker": "STOPPED", "taker": "READY"})
        await client.push_health(strategies={"maker": "RUNNING", "taker": "RUNNING"})
        halt = await here.arbiter.saw(Halt)
        assert (halt.scopes, halt.level) == (("strategy:maker",), TradingState.HALTED)
        assert halt.reason.startswith("integrity: strategy maker went from STOPPED to RUNNING")
        assert session.gate.check(strategy="taker")
        assert not session.gate.check(strategy="maker")
        await client.push_health(strategies={"maker": "STOPPED"})
        status = await client.status()
        assert status.strategies == {"maker": "STOPPED", "taker": "RUNNING"}
        assert [each.halt_id for each in status.halts] == [halt.halt_id]
        here.arbiter.control(1, lifted=[halt.halt_id])
        await session.until_open(PATIENCE_S)


async def test_a_new_run_begins_anew() -> None:
    """What an earlier run of the component said of a strategy is no step of a later one's."""
    async with world() as here, here.sidecar() as client:
        async with client.session() as session:
            await session.until_open(PATIENCE_S)
            await client.push_health(strategies={"maker": "STOPPED"})
        async with client.session() as session:
            await session.until_open(PATIENCE_S)
            assert (await client.status()).strategies == {}
            await client.push_health(strategies={"maker": "RUNNING"})
            assert (await client.status()).halts == ()


async def test_a_state_that_nobody_knows_is_refused() -> None:
    """A push with a state of another name changes nothing."""
    async with world() as here, here.sidecar() as client, client.session():
        with pytest.raises(SidecarProblem) as refused:
            await client.push_health(strategies={"maker": "ZOMBIE"})  # type: ignore[dict-item]  # What is refused.
        assert refused.value.code == "WRONG_FIELD"
        assert (await client.status()).strategies == {}


async def test_too_many_halts_of_strategies_halt_the_component(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose strategies break the table one after the other is halted as a whole, once."""
    monkeypatch.setattr(own_halts, "NEW_MAX", 2)
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        for name in "abcd":
            await client.push_health(strategies={name: "STOPPED"})
            await client.push_health(strategies={name: "RUNNING"})
        scopes = [each.scopes for each in (await client.status()).halts]
        assert scopes == [("strategy:a",), ("strategy:b",), ("component:exec-a",)]
