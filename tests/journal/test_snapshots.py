"""Snapshots on their stream, over the in-process broker and over RabbitMQ: the newest whole one is found, or none."""

from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from journals import journal

from sidecar.broker.interface import Broker, BrokerError, Outgoing
from sidecar.broker.topology import SNAPSHOT_STREAM
from sidecar.core.chronicle import Chronicle
from sidecar.core.outputs import Now
from sidecar.core.snapshot import FORMAT, SnapshotUnreadable, Taken
from sidecar.core.state import State
from sidecar.journal import snapshots
from sidecar.journal.snapshots import MARK_TYPE, PART_TYPE, Packed, SnapshotFinder, pack, unpack, write
from sidecar.messages.arbiters import SnapshotHead
from sidecar.messages.codec import encode

WAIT_S = 20.0
NOW = Now(10**12, 10**18)


def taken(length: int = 400, *, seed: int = 1, write: bool = True) -> Taken:
    """A state of so many random facts."""
    state, chronicle = State(), Chronicle()
    for each in journal(seed, length):
        state.apply(each)
        chronicle.note(each, state.last, NOW)
    return Taken(state, chronicle.times(NOW), length, NOW.wall_ns, write)


def split(body: bytes) -> tuple[SnapshotHead, bytes]:
    """A part's head and bytes."""
    line, _, part = body.partition(b"\n")
    return msgspec.json.decode(line, type=SnapshotHead), part


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts for small states, and windows that several snapshots do not fit into."""
    monkeypatch.setattr(snapshots, "PART_BYTES", 300)
    monkeypatch.setattr(snapshots, "WINDOW", 5)


@pytest.fixture
async def broker(connect: Callable[[str], Broker]) -> AsyncIterator[Broker]:
    """A broker without snapshots."""
    broker = connect("arbiter-1")
    await broker.start()
    await broker.wait_ready(WAIT_S)
    yield broker
    await broker.close()


async def put(broker: Broker, body: bytes, kind: str = PART_TYPE) -> None:
    """Append one entry to the stream of snapshots."""
    await broker.publish(
        Outgoing(exchange="", routing_key=SNAPSHOT_STREAM, body=body, type=kind, app_id="arbiter-1"), WAIT_S
    )


async def found_at(broker: Broker) -> tuple[int | None, list[str]]:
    """The journal offset of what is found, and what was said of those passed by."""
    ignored: list[str] = []
    found = await SnapshotFinder(broker, "arbiter-1", ignored.append).find()
    return (None if found is None else found.taken.offset), ignored


async def test_nothing_is_found_in_an_empty_stream(broker: Broker) -> None:
    """Without a snapshot there is none, and that is known at once and every time."""
    assert await found_at(broker) == (None, [])
    assert await found_at(broker) == (None, [])


async def test_the_newest_is_found(broker: Broker) -> None:
    """Of several snapshots, in many parts, with marks of restarts between and behind them, the last one counts."""
    for length in (300, 500, 400):
        packed = pack(taken(length))
        assert len(packed.bodies) > 5
        await write(broker, "arbiter-1", packed)
        for _ in range(4):
            assert await found_at(broker) == (length, [])


async def test_what_is_found_is_what_was_taken(broker: Broker) -> None:
    """State, times, digest and place come back as they were."""
    before = taken(700)
    packed = pack(before)
    await write(broker, "arbiter-1", packed)
    found = await SnapshotFinder(broker, "arbiter-1", pytest.fail).find()
    assert found is not None
    assert found.digest == packed.digest == before.state.digest() == found.taken.state.digest()
    assert (found.taken.times, found.taken.offset, found.taken.at_ns) == (before.times, before.offset, before.at_ns)
    assert found.taken.state.position == before.state.position


def _harmed(packed: Packed, harm: str) -> list[bytes]:
    bodies = list(packed.bodies)
    head, part = split(bodies[2])
    match harm:
        case "a bit":
            bodies[2] = encode(head) + b"\n" + part[:7] + bytes([part[7] ^ 1]) + part[8:]
        case "no last part":
            bodies.pop()
        case "no first part":
            bodies.pop(0)
        case "a newer format":
            bodies = [
                encode(msgspec.structs.replace(head, format=FORMAT + 1)) + b"\n" + part
                for head, part in map(split, bodies)
            ]
        case "another place":
            bodies = [encode(msgspec.structs.replace(head, n=1)) + b"\n" + part for head, part in map(split, bodies)]
        case "another digest":
            bodies = [
                encode(msgspec.structs.replace(head, digest="0" * 32)) + b"\n" + part
                for head, part in map(split, bodies)
            ]
        case "garbage":
            bodies = [b"\x00garbage", b"", b"{}\n"]
    return bodies


HARMS = ("a bit", "no last part", "no first part", "a newer format", "another place", "another digest", "garbage")


@pytest.mark.parametrize("harm", HARMS)
async def test_a_damaged_one_is_passed_by(broker: Broker, harm: str) -> None:
    """A newest snapshot that is damaged, incomplete or of a newer version is told, and the one before is used."""
    await write(broker, "arbiter-1", pack(taken(300)))
    for body in _harmed(pack(taken(500)), harm):
        await put(broker, body)
    offset, ignored = await found_at(broker)
    assert offset == 300
    assert ignored


async def test_only_damaged_ones_are_none(broker: Broker) -> None:
    """Without one that is whole there is none, however many lie there."""
    for harm in HARMS:
        for body in _harmed(pack(taken(500)), harm):
            await put(broker, body)
    offset, ignored = await found_at(broker)
    assert offset is None
    assert len(ignored) >= len(HARMS)


async def test_two_writers_at_once_do_not_mix(broker: Broker) -> None:
    """Parts of two snapshots in turn, as of a deposed leader and its successor, are two whole snapshots."""
    old, new = pack(taken(300)), pack(taken(500, seed=2))
    for at in range(max(len(old.bodies), len(new.bodies))):
        for packed in (new, old):
            if at < len(packed.bodies):
                await put(broker, packed.bodies[at])
    offset, ignored = await found_at(broker)
    assert (offset, ignored) == (500 if len(new.bodies) > len(old.bodies) else 300, [])


async def test_marks_are_no_snapshots(broker: Broker) -> None:
    """Entries of other kinds, of which any start leaves one, are nobody's loss."""
    await write(broker, "arbiter-1", pack(taken(300)))
    for _ in range(40):
        await put(broker, b"{}", MARK_TYPE)
    assert await found_at(broker) == (300, [])


async def test_a_stream_that_does_not_answer_is_an_error(
    connect: Callable[[str], Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot reach the stream is told, in bounded time, and not that there is no snapshot."""
    monkeypatch.setattr(snapshots, "ANSWER_S", 0.05)
    with pytest.raises(BrokerError):
        await SnapshotFinder(connect("arbiter-1"), "arbiter-1", pytest.fail).find()


def test_only_compared_is_not_packed() -> None:
    """A standby's state has its digest and no bytes."""
    packed = pack(taken(write=False))
    assert packed == Packed(taken().state.digest(), ())


def test_too_large_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state of more than PARTS_MAX parts is refused before anything is written."""
    monkeypatch.setattr(snapshots, "PARTS_MAX", 3)
    with pytest.raises(BrokerError, match="3 parts"):
        pack(taken(500))


@pytest.mark.parametrize("bound", ["UNPACKED_MAX", "PIECE_MAX"])
def test_unpacking_is_bounded(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """What unpacks to more than the bound is damaged; small pieces only make it slower."""
    packed = pack(taken(400))
    parts = [split(each) for each in packed.bodies]
    monkeypatch.setattr(snapshots, bound, 1_000)
    payload = b"".join(part for _, part in parts)
    if bound == "PIECE_MAX":
        assert unpack(parts[0][0], payload).digest == packed.digest
    else:
        with pytest.raises(SnapshotUnreadable):
            unpack(parts[0][0], payload)
