"""Journals of earlier releases, kept for ever: each folds to the state that it had when it was recorded.

`tests/histories/<version>/journal.jsonl.gz` holds a real run's records, a line each, byte by byte as they stood in the
stream; `state.jsonl.gz` the folded state as that version wrote it; `recorded.json` digest, form and chain. A version
with other fields has other digests of the same state; then the recorded state, as this version reads it, is compared.

To record one of this version on a real broker, over the one that is there:

    SIDECAR_RECORD_HISTORY=1 .venv/bin/pytest tests/arbiter/test_histories.py
"""

import asyncio
import gzip
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from arbiter_worlds import Arbiters, Peer, attached, intent, settings, world

from sidecar import __version__
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.interface import Broker, Delivery, Subscription
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import JOURNAL_STREAM, QUEUES
from sidecar.core.log import Verdict
from sidecar.core.sidecar import Publish, Sidecar
from sidecar.core.snapshot import state_of
from sidecar.core.state import State
from sidecar.core.tables import form, pieces_of
from sidecar.messages.base import Message
from sidecar.messages.codec import decode_record
from sidecar.messages.control import (
    CommandResult,
    FailoverRequest,
    Halt,
    PauseRequest,
    ResumeRequest,
    TradingState,
    UnpauseRequest,
)
from sidecar.messages.events import TermBegan
from sidecar.messages.groups import GroupDeclaration, RegisterGroup
from sidecar.messages.journal import OrderLost, Record, SnapshotDigested
from sidecar.messages.orders import (
    Absence,
    Evidence,
    ExecutionReport,
    OrderAborted,
    OrderCommitted,
    OrderDenied,
    OrderGranted,
    OrderUnknown,
)

HISTORIES = Path(__file__).parent.parent / "histories"
RECORDED = sorted(each.parent for each in HISTORIES.glob("*/recorded.json"))
RECORD = os.environ.get("SIDECAR_RECORD_HISTORY", "")


def fold(bodies: list[bytes]) -> tuple[State, int]:
    """The state behind these entries, and how many of them counted."""
    state, valid = State(), 0
    for body in bodies:
        record = decode_record(body)
        assert isinstance(record, Record), record
        valid += state.apply(record, body) is Verdict.VALID
    return state, valid


def lines(path: Path) -> list[bytes]:
    """The lines of a packed file."""
    return gzip.decompress(path.read_bytes()).splitlines()


@pytest.mark.parametrize("folder", RECORDED, ids=lambda each: each.name)
def test_a_recorded_journal_folds_as_it_did(folder: Path) -> None:
    """Every kept journal folds to its recorded chain and all that was recorded, with the same fields to its digest."""
    recorded = json.loads((folder / "recorded.json").read_text())
    state, valid = fold(lines(folder / "journal.jsonl.gz"))
    assert (valid, state.position.chain) == (recorded["valid"], recorded["chain"])
    pieces = lines(folder / "state.jsonl.gz")
    assert state_of(pieces).position == state.position
    kinds = {json.loads(each)["type"] for each in pieces}
    told = [each for each in map(json.loads, pieces_of(state)) if each["type"] in kinds]
    assert len(told) == len(pieces)
    for now, then in zip(told, pieces, strict=True):
        assert_told(now, json.loads(then))
    if recorded["form"] == form():
        assert state.digest() == recorded["digest"]


def assert_told(now: Any, then: Any) -> None:
    """Everything that a recorded piece says stands in today's piece, which may say more."""
    if isinstance(then, dict):
        for key, each in then.items():
            assert key != "rows" or len(now[key]) == len(each)
            assert_told(now[key], each)
    elif isinstance(then, list):
        assert len(now) >= len(then)
        for left, right in zip(now, then, strict=False):
            assert_told(left, right)
    else:
        assert now == then


def test_there_is_one() -> None:
    """At least one journal is kept."""
    assert RECORDED


def test_a_changed_record_is_found() -> None:
    """One byte of one record gives another chain and another digest."""
    bodies = lines(RECORDED[0] / "journal.jsonl.gz")
    state, _ = fold(bodies)
    at = next(at for at, each in enumerate(bodies) if b"OrderPrecommitted" in each)
    changed, _ = fold([*bodies[:at], bodies[at].replace(b"BUY", b"SELL", 1), *bodies[at + 1 :]])
    assert changed.position.chain != state.position.chain
    assert changed.digest() != state.digest()


# --- recording ---


class Often(Arbiters):
    """Arbiters that mark their state every second."""

    def start(self, name: str) -> ArbiterProcess:
        """Start one."""
        broker, plain = self._connect(name), settings(name, *self._operators)
        often = plain.arbiter.model_copy(update={"snapshot_records": 10, "snapshot_interval_s": 1})
        process = ArbiterProcess(plain.model_copy(update={"arbiter": often}), broker)
        self.running[name] = (process, asyncio.create_task(process.run()), broker)
        return process


@pytest.mark.skipif(not RECORD, reason="set SIDECAR_RECORD_HISTORY to record the journal of this version")
async def test_record(connect: Callable[[str], Broker]) -> None:
    """Orders in every phase, halts, a pause, a drain, failovers of both kinds and a new group, kept as files."""
    if not isinstance(connect("probe"), RabbitBroker):
        pytest.skip("a history is of a real broker")
    bodies: list[bytes] = []

    def keep(delivery: Delivery) -> None:
        bodies.append(delivery.body)
        delivery.ack()

    async with world(connect, "guest") as (peer, _):
        arbiters, keeper = Often(connect, "guest"), connect("keeper")
        keeper.subscribe(
            Subscription(
                queue=next(each for each in QUEUES if each.name == JOURNAL_STREAM),
                on_delivery=keep,
                next_offset=lambda: 0,
            )
        )
        await keeper.start()
        try:
            await _live(peer, arbiters)
        finally:
            await arbiters.stop_all()
            await keeper.close()
    _keep(HISTORIES / __version__, bodies)


async def _live(peer: Peer, arbiters: Often) -> None:
    first, second = attached("exec-a"), attached("exec-b")
    arbiters.start("arbiter-1")
    await peer.beat(first, until=lambda: first.slots)
    arbiters.start("arbiter-2")
    await _orders(peer, first, "one")
    await _ask(peer, Halt(halt_id="h1", scopes=("symbol:XYZ",), level=TradingState.HALTED, reason="test", actor="ops"))
    await peer.order(intent(first, "denied-1"))
    await peer.first(OrderDenied)
    await _ask(peer, ResumeRequest(request_id="r1", halt_id="h1", actor="ops", reason="over"))
    await _ask(peer, Halt(halt_id="h2", scopes=("venue:OTHER",), level=TradingState.REDUCING, reason="t", actor="ops"))
    await _ask(peer, PauseRequest(request_id="p1", group="execution", actor="ops", reason="t", duration_ns=60 * 10**9))
    await _ask(peer, UnpauseRequest(request_id="p2", group="execution", actor="ops", reason="t"))
    declared = GroupDeclaration(name="later", components=("x", "y"))
    await _ask(peer, RegisterGroup(request_id="g1", group=declared, actor="ops", reason="t"))
    await peer.beat(second, until=lambda: second.standby_reason == "exec-a holds execution")
    await _ask(peer, FailoverRequest(request_id="f1", group="execution", to="exec-b", actor="ops", reason="drill"))
    await peer.beat(first, until=lambda: not first.slots)
    await peer.beat(second, until=lambda: second.slots)
    await _orders(peer, second, "two")
    await arbiters.kill("arbiter-1")
    await peer.beat(second, until=lambda: any(_leads(each, "arbiter-2") for each in peer.seen))
    await _ask(peer, PauseRequest(request_id="p3", group="execution", actor="ops", reason="t", duration_ns=60 * 10**9))
    await peer.beat(first, until=lambda: first.standby_reason == "exec-b holds execution")
    for output in second.detach("killed", 0):
        if isinstance(output, Publish):
            peer.health(output.message)
    await _ask(peer, FailoverRequest(request_id="f2", group="execution", to="exec-a", actor="ops", reason="it died"))
    await peer.beat(first, until=lambda: first.slots)
    await _orders(peer, first, "three")
    await peer.beat(first, until=lambda: sum(isinstance(each.fact, SnapshotDigested) for each in peer.records) >= 3)


def _leads(message: Message, name: str) -> bool:
    return isinstance(message, TermBegan) and message.arbiter == name


async def _ask(peer: Peer, request: Message) -> None:
    number = getattr(request, "request_id", "") or getattr(request, "halt_id", "")
    await peer.command(request, "request")
    await peer.first(CommandResult, lambda each: each.request_id == number)


async def _orders(peer: Peer, holder: Sidecar, name: str) -> None:
    """Orders that end in every way."""
    for at in range(20):
        number = f"{name}-{at}"
        await peer.order(intent(holder, number))
        await peer.first(OrderGranted, lambda each, number=number: each.cl_ord_id == number)  # type: ignore[misc]  # Bound now.
        who = holder.component
        if at == 0:
            await peer.order(OrderAborted(component=who, cl_ord_id=number, reason="never sent"), "report")
        elif at == 1:
            await peer.order(OrderUnknown(component=who, cl_ord_id=number, reason="no answer"), "report")
            for query in ("q1", "q2"):
                absence = Absence(
                    reconciler="reconciler-1", cl_ord_id=number, query_id=f"{number}-{query}", venue="SIM"
                )
                await peer.order(absence, "evidence")
        else:
            done = OrderCommitted(component=who, cl_ord_id=number, order_id=f"V-{number}", ord_status="NEW")
            await peer.order(done, "report")
        if at >= 5:
            await peer.order(_evidence(number, Decimal(99) if at == 7 else Decimal(10)), "evidence")
    await peer.until(lambda: any(isinstance(each.fact, OrderLost) for each in peer.records))


def _evidence(number: str, filled: Decimal) -> Evidence:
    report = ExecutionReport(
        venue="SIM",
        account="ACC",
        cl_ord_id=number,
        order_id=f"V-{number}",
        exec_id=f"X-{number}",
        exec_type="TRADE",
        ord_status="FILLED",
        symbol="XYZ",
        side="BUY",
        order_qty=Decimal(10),
        cum_qty=filled,
        leaves_qty=Decimal(0),
    )
    return Evidence(reconciler="reconciler-1", source="drop_copy", report=report)


def _keep(folder: Path, bodies: list[bytes]) -> None:
    state, valid = fold(bodies)
    assert valid > 100
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "journal.jsonl.gz").write_bytes(gzip.compress(b"\n".join(bodies) + b"\n", mtime=0))
    (folder / "state.jsonl.gz").write_bytes(gzip.compress(b"".join(pieces_of(state)), mtime=0))
    recorded = {"valid": valid, "chain": state.position.chain, "digest": state.digest(), "form": form()}
    (folder / "recorded.json").write_text(json.dumps(recorded, indent=2) + "\n")
