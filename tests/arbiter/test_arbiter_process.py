"""The arbiter's shell, over the in-process broker and over RabbitMQ."""

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from arbiter_worlds import attached, intent, world

from sidecar.arbiter.process import UNREADABLE_JOURNAL
from sidecar.broker.interface import Broker
from sidecar.broker.topology import JOURNAL_STREAM, ORDERS
from sidecar.core.sidecar import Publish
from sidecar.messages.codec import encode
from sidecar.messages.control import CommandResult, ControlState, Halt, ResumeRequest, StatusRequest, TradingState
from sidecar.messages.events import ControlChanged, SlotMoved, StatusReport, TermBegan
from sidecar.messages.integrity import IntegrityQuery, IntegrityReport
from sidecar.messages.journal import OrderPrecommitted
from sidecar.messages.orders import OrderDenied, OrderGranted

Connect = Callable[[str], Broker]
_RECORD = b'{"term":1,"n":%d,"arbiter":"x#1","at_ns":0,"fact":{"fact":%b}}'


async def test_one_leads(connect: Connect) -> None:
    """Of two arbiters that start together, the first term in the log belongs to exactly one."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        arbiters.start("arbiter-2")
        began = await peer.first(TermBegan)
        await peer.until(lambda: len(peer.valid()) >= 5)
        authors = {each.arbiter.partition("#")[0] for each in peer.valid() if each.term == began.term}
        assert authors == {began.arbiter}


async def test_journal_before_answer(connect: Connect) -> None:
    """A grant that was answered is in the journal under the term and number it names, once."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        sidecar = attached("exec-a")
        await peer.beat(sidecar, until=lambda: sidecar.slots)
        asked = intent(sidecar, "order-1")
        await peer.order(asked)
        await peer.order(asked)
        granted = await peer.first(OrderGranted)
        await peer.until(lambda: sum(isinstance(each, OrderGranted) for each in peer.seen) == 2)
        facts = {(each.term, each.n): each.fact for each in peer.valid()}
        assert facts[granted.term, granted.n] == OrderPrecommitted(intent=asked)
        assert sum(isinstance(each, OrderPrecommitted) for each in facts.values()) == 1


async def test_takeover_keeps_the_lease(connect: Connect) -> None:
    """When the leading arbiter dies the other one leads and renews the same holder under the same token."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        sidecar = attached("exec-a")
        await peer.beat(sidecar, until=lambda: sidecar.slots)
        held, deadline_ns = sidecar.slots, sidecar.deadline_ns
        arbiters.start("arbiter-2")
        await arbiters.kill("arbiter-1")
        await peer.beat(sidecar, until=lambda: any(isinstance(m, TermBegan) and m.term > 1 for m in peer.seen))
        later_ns = max(deadline_ns, sidecar.deadline_ns)
        await peer.beat(sidecar, until=lambda: sidecar.deadline_ns > later_ns)
        assert sidecar.slots == held
        assert [each.component for each in peer.seen if isinstance(each, SlotMoved)] == ["exec-a"]


async def test_release_moves_the_slot(connect: Connect) -> None:
    """A released slot goes to the standby at once, under a higher token."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        active, standby = attached("exec-a"), attached("exec-b")
        await peer.beat(active, until=lambda: active.slots)
        before = active.slots[0].token
        peer.health(standby.heartbeat(0 + standby.deadline_ns))
        await peer.beat(standby, until=lambda: standby.standby_reason == "exec-a holds execution")
        for output in active.detach("killed", 0):
            if isinstance(output, Publish):
                peer.health(output.message)
        await peer.beat(standby, until=lambda: standby.slots)
        assert standby.slots[0].token > before


async def test_halt_survives_everything(connect: Connect) -> None:
    """A journaled halt denies orders with its reason after every arbiter was replaced, until an operator lifts it."""
    user = connect("probe").user
    async with world(connect, user) as (peer, arbiters):
        arbiters.start("arbiter-1")
        sidecar = attached("exec-a")
        await peer.beat(sidecar, until=lambda: sidecar.slots)
        halt = Halt(halt_id="h1", scopes=("all",), level=TradingState.HALTED, reason="a test", actor="ops")
        await peer.command(halt, "halt")
        await peer.first(CommandResult, lambda each: each.request_id == "h1" and each.ok)
        await arbiters.kill("arbiter-1")
        arbiters.start("arbiter-2")
        await peer.first(TermBegan, lambda each: each.arbiter == "arbiter-2")
        await peer.order(intent(sidecar, "order-1"))
        denied = await peer.first(OrderDenied)
        assert denied.code == "HALTED"
        assert "a test" in denied.text
        resume = ResumeRequest(request_id="r1", halt_id="h1", actor="ops", reason="over")
        await peer.command(resume, "resume")
        assert (await peer.first(CommandResult, lambda each: each.request_id == "r1")).ok
        await peer.order(intent(sidecar, "order-2"))
        assert (await peer.first(OrderGranted)).cl_ord_id == "order-2"


async def test_nobody_else_resumes(connect: Connect) -> None:
    """A resume by a broker user who is no operator is refused with the mend, and the halt stays."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        halt = Halt(halt_id="h1", scopes=("all",), level=TradingState.HALTED, reason="a test", actor="ops")
        await peer.command(halt, "halt")
        await peer.first(CommandResult, lambda each: each.ok)
        resume = ResumeRequest(request_id="r1", halt_id="h1", actor="ops", reason="over")
        await peer.command(resume, "resume")
        result = await peer.first(CommandResult, lambda each: each.request_id == "r1")
        assert not result.ok
        assert "security.operators" in result.text
        await peer.command(StatusRequest(request_id="s1", actor="ops"), "status")
        assert [each.halt_id for each in (await peer.first(StatusReport)).halts] == ["h1"]


async def test_halt_heard_without_arbiter(connect: Connect) -> None:
    """A halt that a sidecar heard while no arbiter lived is journaled by the next one, from its heartbeats."""
    async with world(connect) as (peer, arbiters):
        sidecar = attached("exec-a")
        halt = Halt(halt_id="h1", scopes=("all",), level=TradingState.HALTED, reason="alone", actor="ops")
        sidecar.on_halt(halt, 0)
        arbiters.start("arbiter-1")
        await peer.beat(sidecar, until=lambda: sidecar.memory.confirmed)
        assert sidecar.memory.unconfirmed == ()
        await peer.until(lambda: peer.fold().halts)  # The journal is another link than the answer.
        assert peer.fold().halts == {"h1": halt}


@pytest.mark.parametrize(
    ("body", "type_name", "app_id", "code"),
    [
        (b"{not json", "order-intent.v1", "exec-a", "not-json"),
        (b"{}", "order-intent.v9", "exec-a", "unknown-type"),
        (b'{"type":"order-aborted.v1","component":"exec-a"}', "order-aborted.v1", "exec-a", "wrong-field"),
        (b'{"type":"probe.v1","arbiter":"somebody"}', "probe.v1", "somebody-else", "wrong-sender"),
        (b'"' + b"x" * 70_000 + b'"', "order-intent.v1", "exec-a", "too-large"),
    ],
)
async def test_bad_input(connect: Connect, body: bytes, type_name: str, app_id: str, code: str) -> None:
    """Bad input is kept with its reason in the dead-letter queue, and the arbiter goes on."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        await peer.first(TermBegan)
        await peer.raw(ORDERS, "intent.exec-a", body, type_name, app_id)
        dead = (await peer.until(lambda: peer.dead))[0]
        assert dead.headers["reason-code"] == code
        await peer.command(StatusRequest(request_id="s1", actor="ops"), "status")
        assert (await peer.first(StatusReport)).arbiter == "arbiter-1"


async def test_unknown_record(connect: Connect) -> None:
    """A record of an unknown kind that would count stops an arbiter with its own exit code before it decides."""
    async with world(connect) as (peer, arbiters):
        await peer.raw("", JOURNAL_STREAM, _RECORD % (0, b'"TermStarted","reason":"newer"'), "record.v1", "x")
        await peer.raw("", JOURNAL_STREAM, _RECORD % (1, b'"FromTheFuture"'), "record.v1", "x")
        arbiters.start("arbiter-1")
        _, task, _ = arbiters.running["arbiter-1"]
        assert await task == UNREADABLE_JOURNAL


@pytest.mark.parametrize("body", [b"{}", b"not json", _RECORD % (7, b'"FromTheFuture"')])
async def test_foreign_entry(connect: Connect, body: bytes) -> None:
    """An entry of the journal that is nobody's next record is void, and stops nobody."""
    async with world(connect) as (peer, arbiters):
        await peer.raw("", JOURNAL_STREAM, body, "record.v1", "x")
        arbiters.start("arbiter-1")
        assert (await peer.first(TermBegan)).arbiter == "arbiter-1"


async def test_a_double_that_says_something_else(connect: Connect) -> None:
    """A second entry under the number of a record, unlike the first, halts everything, and the report names it."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        await peer.first(TermBegan)
        last = (await peer.until(lambda: [each for each in peer.valid() if each.n]))[-1]
        for each in (last, msgspec.structs.replace(last, at_ns=last.at_ns + 1)):
            await peer.raw("", JOURNAL_STREAM, encode(each), "record.v1", "x")
        raised = await peer.first(ControlChanged)
        assert raised.halt.scopes == ("all",)
        assert raised.halt.reason.startswith("integrity: the journal has record")
        await peer.command(IntegrityQuery(request_id="q1", actor="ops"), "integrity")
        (found,) = (await peer.first(IntegrityReport)).findings
        assert (found.scope, found.halts, found.resolved) == ("all", (raised.halt.halt_id,), False)


async def test_no_answer_into_the_journal(connect: Connect) -> None:
    """An answer goes to reply queues only: naming the journal as reply_to puts nothing there."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        await peer.first(TermBegan)
        await peer.command(StatusRequest(request_id="evil", actor="ops"), "status", reply_to=JOURNAL_STREAM)
        await peer.command(StatusRequest(request_id="good", actor="ops"), "status")
        assert (await peer.first(StatusReport)).request_id == "good"
        n = len(peer.valid())
        await peer.until(lambda: len(peer.valid()) > n)
        assert peer.strange == 0


async def test_bad_numbers(connect: Connect) -> None:
    """An order whose quantity is no number is denied with its own code, like any that a check cannot judge."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        sidecar = attached("exec-a")
        await peer.beat(sidecar, until=lambda: sidecar.slots)
        await peer.order(intent(sidecar, "order-1", qty=Decimal("NaN")))
        assert (await peer.first(OrderDenied)).code == "BAD_FIELD"


async def test_missed_control_is_told(connect: Connect) -> None:
    """A sidecar that missed a halt gets the control state with its next heartbeat, before any lease."""
    async with world(connect) as (peer, arbiters):
        arbiters.start("arbiter-1")
        await peer.first(TermBegan)
        halt = Halt(halt_id="h1", scopes=("all",), level=TradingState.HALTED, reason="a test", actor="ops")
        await peer.command(halt, "halt")
        await peer.first(CommandResult)
        sidecar = attached("exec-a")
        peer.health(sidecar.heartbeat(0))
        assert (await peer.first(ControlState)).halts == (halt,)
