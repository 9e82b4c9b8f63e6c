"""Snapshots on the stream `sidecar.snapshots`: packing, writing, and finding the newest one that is whole.

Owns parts, compression and checks. It must not know when a snapshot is due, nor what the state means.

One stream entry is one part: a line of JSON (`SnapshotHead`) and up to PART_BYTES of the compressed pieces of
`core/tables.py`, with a last line of times. A snapshot counts when all parts are there and their sum, its format, its
digest and its place agree; anything else is told and passed by, for the one before it.

A stream does not say where it ends. So the finder appends a mark of its own, reads where that stands, and goes back
from there, WINDOW entries at a time.
"""

import asyncio
import hashlib
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import msgspec
import structlog

from sidecar.broker.interface import Broker, BrokerAway, BrokerError, Delivery, Outgoing, Subscription
from sidecar.broker.topology import QUEUES, SNAPSHOT_STREAM
from sidecar.core.snapshot import FORMAT, SnapshotUnreadable, Taken, state_of, times_of
from sidecar.core.tables import digest_of, pieces_of
from sidecar.messages.arbiters import SnapshotHead
from sidecar.messages.codec import encode

PART_TYPE, MARK_TYPE = "snapshot-part.v1", "snapshot-mark.v1"
PART_BYTES = 256 * 1024
"""Of compressed state in one message. More would hold up what else travels on the link."""
PARTS_MAX = 1_024
"""A snapshot of more parts is not written and not read: 256 MiB compressed."""
UNPACKED_MAX = 4 * 1024**3
"""A snapshot that unpacks to more is damaged."""
PIECE_MAX = 64 * 1024**2
LEVEL = 1
"""zlib's: the fastest already makes it six times smaller, and the next ones cost more than they save."""
WRITERS_MAX = 2
"""Who may write at once: a deposed leader and its successor. Parts lie at most so many times apart."""
WINDOW = 64
READ_AHEAD = 8
ANSWER_S = 10.0
"""The stream has this long to deliver what is known to be in it."""
BREATH_S = 0.0002
"""After each piece, so that packing beside the loop does not keep the interpreter from it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Packed:
    """A snapshot ready to be written: the bodies of its parts, and the digest of its state."""

    digest: str
    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot that was read whole."""

    taken: Taken
    digest: str


@dataclass(slots=True)
class _Gathering:
    """Parts of one snapshot, as they were found."""

    head: SnapshotHead
    last_offset: int
    parts: dict[int, bytes] = field(default_factory=dict)


def pack(taken: Taken) -> Packed:
    """Encode, hash and compress. To be run in a thread; BREATH_S lets the loop's thread in."""
    digest = hashlib.blake2b(digest_size=16)
    packer = zlib.compressobj(LEVEL)
    packed: list[bytes] = []
    for piece in pieces_of(taken.state):
        digest.update(piece)
        if taken.write:
            packed.append(packer.compress(piece))
        time.sleep(BREATH_S)
    if not taken.write:
        return Packed(digest.hexdigest(), ())
    packed += [packer.compress(encode(taken.times) + b"\n"), packer.flush()]
    payload = b"".join(packed)
    return Packed(digest.hexdigest(), tuple(_bodies(taken, digest.hexdigest(), payload)))


def unpack(head: SnapshotHead, payload: bytes) -> Found:
    """The snapshot in `payload`. Raises SnapshotUnreadable, and makes no state of anything doubtful."""
    if hashlib.blake2b(payload, digest_size=16).hexdigest() != head.sum or len(payload) != head.size:
        raise SnapshotUnreadable("its bytes are damaged")
    lines = list(_lines(payload))
    if not lines:
        raise SnapshotUnreadable("it is empty")
    times = times_of(lines.pop())
    state = state_of(lines)
    at = state.position
    if digest_of(lines) != head.digest:
        raise SnapshotUnreadable("its digest is another state's")
    if (at.term, at.author, at.n, at.chain) != (head.term, head.author, head.n, head.chain):
        raise SnapshotUnreadable("its head and its state stand at different places")
    return Found(Taken(state, times, head.offset, head.at_ns, False), head.digest)


async def write(broker: Broker, author: str, packed: Packed) -> None:
    """Append all parts, one after the other's confirm. Raises BrokerError; what is incomplete is no snapshot."""
    for body in packed.bodies:
        await broker.publish(_outgoing(author, PART_TYPE, body))


class SnapshotFinder:
    """Looks for the newest whole snapshot. `on_ignored` is told of each that was passed by, and why."""

    def __init__(self, broker: Broker, author: str, on_ignored: Callable[[str], None]) -> None:
        self._broker = broker
        self._author = author
        self._on_ignored = on_ignored
        self._stream = next(each for each in QUEUES if each.name == SNAPSHOT_STREAM)
        self._deliveries: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._gathered: dict[str, _Gathering] = {}

    async def find(self) -> Found | None:
        """The newest whole snapshot, or None when there is none. Raises BrokerError when the stream does not answer."""
        upper = await self._end()
        while upper > 0:
            lower = max(0, upper - WINDOW)
            first = await self._gather(lower, upper)
            upper = lower if first <= lower else 0
            for each in sorted(self._gathered.values(), key=lambda one: -one.last_offset):
                if len(each.parts) < each.head.parts:
                    if upper > max(0, each.last_offset - WRITERS_MAX * each.head.parts):
                        break  # Its other parts may lie further back: nothing older counts before they are looked for.
                    continue
                del self._gathered[each.head.snapshot]
                if (found := await self._judged(each)) is not None:
                    self._tell_incomplete(each.last_offset)
                    return found
        self._tell_incomplete(-1)
        return None

    def _tell_incomplete(self, behind: int) -> None:
        """Newer than what is used: one whose writer died over it, or one that is being written now."""
        for each in self._gathered.values():
            if each.last_offset > behind:
                self._ignore(each.head, f"{len(each.parts)} of its {each.head.parts} parts are there")

    async def _judged(self, gathered: _Gathering) -> Found | None:
        head = gathered.head
        payload = b"".join(gathered.parts[part] for part in range(head.parts))
        try:
            return await asyncio.to_thread(unpack, head, payload)
        except SnapshotUnreadable as error:
            self._ignore(head, str(error))
            return None

    async def _end(self) -> int:
        """The offset of a mark that is appended now."""
        mark = uuid4().hex
        self._subscribe(None)
        try:
            await self._broker.wait_ready(ANSWER_S)
            await self._broker.publish(_outgoing(self._author, MARK_TYPE, b"{}", mark), ANSWER_S)
            while (delivery := await self._next()).correlation_id != mark:
                pass
            return delivery.offset or 0
        finally:
            self._unsubscribe()

    async def _gather(self, lower: int, upper: int) -> int:
        """Read the entries from `lower` up to, not including, `upper`; returns the first offset that is there."""
        self._subscribe(lower)
        first: int | None = None
        try:
            while True:
                delivery = await self._next()
                offset = delivery.offset or 0
                first = offset if first is None else first
                if offset >= upper:
                    return first
                if delivery.type == PART_TYPE:
                    self._keep(delivery.body, offset)
        finally:
            self._unsubscribe()

    def _keep(self, body: bytes, offset: int) -> None:
        line, _, part = body.partition(b"\n")
        try:
            head = msgspec.json.decode(line, type=SnapshotHead)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._on_ignored(f"the entry at offset {offset} of {SNAPSHOT_STREAM} is no part of a snapshot")
            return
        if head.format != FORMAT or not 0 <= head.part < head.parts <= PARTS_MAX:
            if head.part == 0:
                self._ignore(head, f"it has format {head.format} and {head.parts} parts; this version reads {FORMAT}")
            return
        gathered = self._gathered.setdefault(head.snapshot, _Gathering(head, offset))
        gathered.last_offset = max(gathered.last_offset, offset)
        gathered.parts[head.part] = part

    def _ignore(self, head: SnapshotHead, why: str) -> None:
        self._on_ignored(f"the snapshot {head.snapshot} of journal offset {head.offset} is passed by: {why}")

    def _subscribe(self, first: int | None) -> None:
        self._deliveries.clear()
        self._broker.subscribe(
            Subscription(
                queue=self._stream,
                on_delivery=self._deliver,
                prefetch=READ_AHEAD,
                next_offset=None if first is None else lambda: first,
            )
        )

    def _unsubscribe(self) -> None:
        self._broker.unsubscribe(SNAPSHOT_STREAM)

    def _deliver(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)
        self._arrived.set()

    async def _next(self) -> Delivery:
        try:
            async with asyncio.timeout(ANSWER_S):
                while not self._deliveries:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise BrokerAway(f"{SNAPSHOT_STREAM} did not deliver within {ANSWER_S:g} s what is in it") from None
        delivery = self._deliveries.popleft()
        delivery.ack()
        return delivery


def _outgoing(author: str, kind: str, body: bytes, correlation_id: str = "") -> Outgoing:
    return Outgoing(
        exchange="", routing_key=SNAPSHOT_STREAM, body=body, type=kind, app_id=author, correlation_id=correlation_id
    )


def _bodies(taken: Taken, digest: str, payload: bytes) -> Iterator[bytes]:
    """Raises BrokerError for a state too large to be a snapshot."""
    parts = [payload[at : at + PART_BYTES] for at in range(0, len(payload), PART_BYTES)]
    if len(parts) > PARTS_MAX:
        raise BrokerError(f"a snapshot of {len(payload)} bytes is more than {PARTS_MAX} parts of {PART_BYTES}")
    at, name = taken.state.position, uuid4().hex
    total = hashlib.blake2b(payload, digest_size=16).hexdigest()
    for part, chunk in enumerate(parts):
        head = SnapshotHead(
            format=FORMAT,
            snapshot=name,
            part=part,
            parts=len(parts),
            size=len(payload),
            sum=total,
            digest=digest,
            offset=taken.offset,
            term=at.term,
            author=at.author,
            n=at.n,
            chain=at.chain,
            at_ns=taken.at_ns,
        )
        yield encode(head) + b"\n" + chunk


def _lines(payload: bytes) -> Iterator[bytes]:
    """Unpacked line by line, within bounds."""
    unpacker, rest, left = zlib.decompressobj(), b"", UNPACKED_MAX
    try:
        while payload and left > 0:
            text = rest + unpacker.decompress(payload, PIECE_MAX)
            left -= len(text) - len(rest)
            payload = unpacker.unconsumed_tail
            *lines, rest = text.split(b"\n")
            yield from (line + b"\n" for line in lines)
    except zlib.error as error:
        raise SnapshotUnreadable(f"its compression is damaged: {error}") from error
    if left <= 0 or rest or not unpacker.eof:
        raise SnapshotUnreadable("it does not end where it should")
