"""Execute-once through the whole path: the clients, the sidecar, a real arbiter, over the in-process broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import get_args

import pytest
from sidecar_world import PATIENCE_S, World, world

from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.memory import MemoryBroker
from sidecar.broker.topology import reply_queue
from sidecar.client import SidecarClient, SidecarProblem, SidecarSyncClient
from sidecar.client.once import executed_once, once, once_sync
from sidecar.client.once_effect import (
    Happened,
    NeverHappened,
    OnceBusy,
    OnceRefused,
    OnceResultLost,
    OnceUnknown,
    Resolution,
)
from sidecar.messages.local import OncePush, OnceRequest
from sidecar.messages.once import OnceAnswer, OnceClaim, OnceKind, OnceReport, OnceVerdict


@contextlib.asynccontextmanager
async def trading() -> AsyncIterator[tuple[World, SidecarClient]]:
    """A sidecar and an arbiter that answers."""
    async with world(peer=False) as here:
        process = ArbiterProcess(here.settings(), MemoryBroker(here.hub, name="arbiter-1", user="arbiter-1"))
        running = asyncio.create_task(process.run())
        try:
            async with here.sidecar(orders={"precommit_timeout_ms": 10_000}) as client:
                yield here, client
        finally:
            process.stop()
            async with asyncio.timeout(PATIENCE_S):
                await running


class Venue:
    """Counts what reaches it."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, key: str, *, fails: BaseException | None = None) -> dict[str, str]:
        self.sent.append(key)
        if fails is not None:
            raise fails
        return {"OrderID": f"V-{len(self.sent)}"}


async def test_one_run_one_result() -> None:
    """Ten at once run it once, and all of them get its result, as does whoever asks later."""
    venue = Venue()
    async with trading() as (_, client):

        @executed_once("place", lambda key: key, client=client, wait_s=PATIENCE_S)
        async def place(key: str) -> dict[str, str]:
            return await venue.send(key)

        results = await asyncio.gather(*(place("k-1") for _ in range(10)))
        assert results == [{"OrderID": "V-1"}] * 10
        assert await place("k-1") == {"OrderID": "V-1"}
    assert venue.sent == ["k-1"]


async def test_an_exception_leaves_it_unknown_until_resolved() -> None:
    """A block that fails is UNKNOWN to everybody, and the resolver's finding is what they get then."""
    venue = Venue()

    async def ask_venue() -> Resolution:
        return Happened({"OrderID": "V-1"}) if venue.sent else NeverHappened("asked twice")

    async with trading() as (_, client):
        with pytest.raises(OSError, match="cut"):
            async with once("k-1", "place", client=client):
                await venue.send("k-1", fails=OSError("cut"))
        with pytest.raises(OnceUnknown):
            async with once("k-1", "place", client=client):
                pass
        async with once("k-1", "place", client=client, resolve=ask_venue) as effect:
            assert (effect.due, effect.result) == (False, {"OrderID": "V-1"})
    assert venue.sent == ["k-1"]


async def test_a_resolver_that_proves_absence_lets_it_run() -> None:
    """Once it is proven that nothing happened, the block that asked may do it."""
    found: list[Resolution] = [None, NeverHappened("asked twice")]

    async def ask_venue() -> Resolution:
        return found.pop(0)

    async with trading() as (_, client):
        with pytest.raises(ZeroDivisionError):
            async with once("k-1", "transfer", client=client):
                raise ZeroDivisionError
        with pytest.raises(OnceUnknown, match="could not tell"):
            async with once("k-1", "transfer", client=client, resolve=ask_venue):
                pass
        async with once("k-1", "transfer", client=client, resolve=ask_venue) as effect:
            assert effect.due
            effect.done(7)
        async with once("k-1", "transfer", client=client) as effect:
            assert (effect.due, effect.result) == (False, 7)


async def test_what_certainly_did_not_happen_is_free() -> None:
    """An exception that says that nothing was sent, or the caller's own word, frees the key."""
    async with trading() as (_, client):
        with pytest.raises(ConnectionRefusedError):
            async with once("k-1", "cancel", client=client, nothing_done=(ConnectionRefusedError,)):
                raise ConnectionRefusedError
        async with once("k-1", "cancel", client=client) as effect:
            effect.not_done("thought better of it")
        async with once("k-1", "cancel", client=client) as effect:
            assert effect.due


async def test_a_block_is_cut_at_its_limit() -> None:
    """A block that takes longer than its limit is cut before anybody may look into what became of it."""
    async with trading() as (_, client):
        with pytest.raises(TimeoutError):
            async with once("k-1", "amend", client=client, limit_s=0.05):
                await asyncio.Event().wait()
        with pytest.raises(OnceUnknown):
            async with once("k-1", "amend", client=client):
                pass


async def test_busy_other_arguments_and_lost_results() -> None:
    """Somebody at it is BUSY, another fingerprint REFUSED, and a result that is no JSON is said to be lost."""
    async with trading() as (_, client):
        async with once("k-1", "close_position", client=client, fingerprint="a") as effect:
            with pytest.raises(OnceBusy):
                async with once("k-1", "close_position", client=client):
                    pass
            with pytest.raises(OnceRefused):
                async with once("k-1", "close_position", client=client, fingerprint="b"):
                    pass
            effect.done(object())
        with pytest.raises(OnceResultLost, match="no JSON"):
            async with once("k-1", "close_position", client=client):
                pass


async def test_the_blocking_form() -> None:
    """Plain functions are wrapped as they are, repeats get the first result, failures are UNKNOWN until resolved."""
    sent: list[str] = []

    def place(key: str) -> str:
        sent.append(key)
        if key == "bad":
            raise OSError("cut")
        return f"V-{len(sent)}"

    def blocking(socket: str) -> list[str]:
        with SidecarSyncClient(socket, timeout_s=PATIENCE_S) as client:
            wrapped = executed_once("place", lambda key: key, client=client, returns=str)(place)
            results = [wrapped("good"), wrapped("good")]
            with pytest.raises(OSError, match="cut"):
                wrapped("bad")
            with pytest.raises(OnceUnknown):
                wrapped("bad")
            with once_sync("bad", "place", client=client, resolve=lambda: Happened("V-9")) as effect:
                results.append(effect.result)
            return results

    async with trading() as (here, _):
        assert await asyncio.to_thread(blocking, here.socket) == ["V-1", "V-1", "V-9"]
    assert sent == ["good", "bad"]


class Gateway:
    """Code that knows nothing of execute-once."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def place(self, key: str, *, qty: int = 1) -> str:
        """Send an order."""
        self.sent.append(key)
        return f"{key} x {qty}"

    async def __call__(self, key: str) -> str:
        """The same."""
        return await self.place(key)


async def test_code_that_stays_as_it_is() -> None:
    """Methods, bound or not, and objects that are called run once; other arguments under their key are refused."""
    async with trading() as (_, client):
        gateway = Gateway()
        bound = executed_once("place", lambda key, **_: key, client=client)(gateway.place)
        assert [await bound("k-1", qty=2), await bound("k-1", qty=2)] == ["k-1 x 2"] * 2

        class Once(Gateway):
            place = executed_once(
                "amend", lambda self, key, **_: key, fingerprint=lambda self, key, qty=1: str(qty), client=client
            )(Gateway.place)

        placing = Once()
        assert [await placing.place("k-1"), await placing.place("k-1", qty=1)] == ["k-1 x 1"] * 2
        with pytest.raises(OnceRefused, match="other arguments"):
            await placing.place("k-1", qty=2)
        called = executed_once("cancel", lambda key: key, client=client)(gateway)
        assert [await called("k-1"), await called("k-1")] == ["k-1 x 1"] * 2
    assert (gateway.sent, placing.sent) == (["k-1", "k-1"], ["k-1"])


async def test_what_has_no_one_result_is_refused() -> None:
    """A generator cannot be wrapped, and a plain function that returns a coroutine has done nothing and says so."""

    def several() -> Iterator[int]:
        yield 1

    async def many() -> AsyncIterator[int]:
        yield 1

    for each in (several, many, "nothing"):
        with pytest.raises(TypeError, match="no function that is called once"):
            executed_once("place", lambda: "k")(each)  # type: ignore[arg-type]  # On purpose.
    gateway = Gateway()

    def blocking(socket: str) -> None:
        with SidecarSyncClient(socket, timeout_s=PATIENCE_S) as sync:
            hidden = executed_once("place", lambda key: key, client=sync)(lambda key: gateway.place(key))
            with pytest.raises(TypeError, match="async def"):
                hidden("k-1")

    async with trading() as (here, client):
        await asyncio.to_thread(blocking, here.socket)
        async with once("k-1", "place", client=client) as effect:
            assert effect.due
    assert gateway.sent == []


async def test_what_was_said_to_be_done_is_done_whatever_follows() -> None:
    """An exception after `done()` frees nothing, also when it is of a type that says that nothing happened."""
    async with trading() as (_, client):
        with pytest.raises(ConnectionRefusedError):
            async with once("k-1", "cancel", client=client, nothing_done=(ConnectionRefusedError,)) as effect:
                effect.done()
                raise ConnectionRefusedError
        async with once("k-1", "cancel", client=client) as effect:
            assert (effect.due, effect.result) == (False, None)


async def test_there_are_five_kinds() -> None:
    """A kind that there is not is refused by its name, and nothing is run."""
    async with trading() as (_, client):
        with pytest.raises(SidecarProblem, match=r"WRONG_FIELD.*launch"):
            async with once("k-1", "launch", client=client):  # type: ignore[arg-type]  # On purpose.
                pass
        for kind in get_args(OnceKind):
            async with once("k-1", kind, client=client) as effect:
                assert effect.due


async def test_without_an_answer_nothing_may_run() -> None:
    """No arbiter means no run; a RUN that comes too late is given back as NOT_DONE."""
    async with world() as here, here.sidecar(orders={"precommit_timeout_ms": 20}) as client:
        with pytest.raises(SidecarProblem, match="NO_ANSWER"):
            await client.claim_once(OnceRequest(kind="place", key="k-1"))
        claim = await here.arbiter.saw(OnceClaim)
        late = OnceAnswer(
            arbiter="arbiter-1", claim_id=claim.claim_id, kind="place", key="k-1", verdict=OnceVerdict.RUN
        )
        here.arbiter.send("", reply_queue("exec-a", (await client.status()).run).name, late)
        report = await here.arbiter.saw(OnceReport)
        assert (report.claim_id, report.outcome) == (claim.claim_id, "NOT_DONE")


@pytest.mark.parametrize("change", [{"key": ""}, {"key": "x" * 129}, {"limit_ms": 0}, {"fingerprint": "x" * 129}])
async def test_bad_claims_are_refused_at_the_door(change: dict[str, object]) -> None:
    """A claim that no arbiter would take is refused with the field's name."""
    async with world(peer=False) as here, here.sidecar() as client:
        with pytest.raises(SidecarProblem, match=f"WRONG_FIELD: {next(iter(change))}"):
            await client.claim_once(OnceRequest(kind="place", **{"key": "k", **change}))  # type: ignore[arg-type]  # Of a test's table.
        with pytest.raises(SidecarProblem, match="WRONG_FIELD: claim_id"):
            await client.report_once(OncePush(kind="place", key="k", claim_id="exec-b.1", outcome="DONE"))
