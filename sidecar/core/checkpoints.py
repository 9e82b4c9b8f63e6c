"""Snapshots and digests: when the folded state is taken, and whether two arbiters folded the same.

Owns the marks in the journal and the comparison of digests. It must not know how a snapshot is written, nor compute a
digest itself: that walks over every order, so the shell does it beside its loop and hands the answer in.

| reads or hears                                           | does                                                      |
|----------------------------------------------------------|-----------------------------------------------------------|
| leader: enough records and time since the last mark      | SnapshotMarked                                            |
| leader: an operator asks, and the last one is not new    | SnapshotMarked                                            |
| any: SnapshotMarked that is not old                      | TakeSnapshot of the state as it stands behind that record |
| leader: the digest of its own mark                       | SnapshotDigested                                          |
| any: its own digest and the journaled one of one mark,   | compared; when they differ: StateDiffers, and it stops    |
| over the same fields                                     |                                                           |
| any: a snapshot to begin with                            | its digest is its own one of that mark: compared likewise |
| any: SnapshotDigested of no later mark than the last one | `disorder`: the integrity of all is violated              |

The journal's word is its author's: whoever's digest differs from it is the one that stops. Two arbiters that fold one
journal differently run different code or bad memory, and the one that is not trusted with the lead must not get it.
"""

from dataclasses import dataclass

from sidecar.core.bounded import drop_oldest
from sidecar.core.chronicle import Chronicle
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Event, Now, Output, TakeSnapshot
from sidecar.core.snapshot import Taken
from sidecar.core.tables import form
from sidecar.core.timing import MS
from sidecar.messages.arbiters import StateDiffers
from sidecar.messages.journal import Record, SnapshotDigested, SnapshotMarked

MARKS_MAX = 64
"""Marks whose digests are remembered until both are known."""
OLD_NS = 30_000 * MS
"""A mark read this long after it was written is only passed by: whoever catches up need not compare on the way."""


ASKED_NS = 5_000 * MS
"""Between the last mark and one that an operator asks for: a mark has every arbiter hash and copy its whole state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRule:
    """A snapshot after so many records of the journal, and no sooner than the interval after the last; 0 is never."""

    records: int = 0
    interval_ns: int = 60_000 * MS


@dataclass(frozen=True, slots=True)
class Digest:
    """The hash of the state behind the journal's record at `offset`."""

    offset: int = -1
    digest: str = ""


class Checkpoints:
    """One arbiter's marks and digests. `differs` is empty, or the sentence with which it must stop.

    `disorder` is empty, or what is wrong with the order of snapshots in the journal; whoever reads it empties it.
    """

    def __init__(self, name: str, desk: Desk, rule: SnapshotRule, now: Now) -> None:
        self.last = Digest()
        self.differs = ""
        self.disorder = ""
        self._newest = (0, -1)
        self._name = name
        self._desk = desk
        self._rule = rule
        self._marked_offset = -1
        self._marked_ns = now.boot_ns
        self._ours: dict[str, Digest] = {}
        self._theirs: dict[str, SnapshotDigested] = {}

    def restored(self, taken: Taken, digest: str, now: Now) -> None:
        """This arbiter stands on a snapshot; what the journal says of its digest is still to be read."""
        at = taken.state.position
        self.last = self._ours[f"{at.term}.{at.n}"] = Digest(taken.offset, digest)
        self._marked_offset, self._marked_ns = taken.offset, now.boot_ns

    def tick(self, offset: int, now: Now) -> None:
        """Mark when it is due; to be called by a leader, with the offset of the record read last."""
        due = self._rule.records and offset - self._marked_offset >= self._rule.records
        if due and now.boot_ns - self._marked_ns >= self._rule.interval_ns:
            self._marked_ns = now.boot_ns
            self._desk.emit(SnapshotMarked())

    def asked(self, now: Now) -> bool:
        """Mark because an operator asks the leader; false when the last mark is too new for another."""
        if self._marked_offset >= 0 and now.boot_ns - self._marked_ns < ASKED_NS:
            return False
        self._marked_ns = now.boot_ns
        self._desk.emit(SnapshotMarked())
        return True

    def read(self, record: Record, offset: int, chronicle: Chronicle, now: Now) -> list[Output]:
        """A valid record, just folded."""
        match record.fact:
            case SnapshotMarked():
                self._marked_offset, self._marked_ns = offset, now.boot_ns
                if now.wall_ns - record.at_ns > OLD_NS:
                    return []
                write = self._desk.leading and record.arbiter == self._desk.author
                state = self._desk.log_state.copy()
                return [TakeSnapshot(Taken(state, chronicle.times(now), offset, record.at_ns, write))]
            case SnapshotDigested() as fact:
                key = f"{fact.term}.{fact.n}"
                if (fact.term, fact.n) <= self._newest:
                    self.disorder = f"the snapshot at {key} was digested after the one at {self._newest}: out of order"
                self._newest = max(self._newest, (fact.term, fact.n))
                self._theirs[key] = fact
                drop_oldest(self._theirs, MARKS_MAX)
                return self._compare(key)
            case _:
                return []

    def digested(self, taken: Taken, digest: str) -> list[Output]:
        """The shell has computed the digest of what it was told to take."""
        at = taken.state.position
        key = f"{at.term}.{at.n}"
        self.last = self._ours[key] = Digest(taken.offset, digest)
        drop_oldest(self._ours, MARKS_MAX)
        if taken.write and self._desk.leading and self._desk.term == at.term:
            self._desk.emit(SnapshotDigested(term=at.term, n=at.n, digest=digest, form=form()))
        return self._compare(key)

    def _compare(self, key: str) -> list[Output]:
        ours, theirs = self._ours.get(key), self._theirs.get(key)
        if ours is None or theirs is None or theirs.form != form():
            return []
        if ours.digest == theirs.digest or self.differs:
            return []
        self.differs = (
            f"at journal offset {ours.offset} this arbiter's state has digest {ours.digest}, and the journal says "
            f"{theirs.digest}: same journal, other state"
        )
        told = StateDiffers(
            arbiter=self._name, author=self._desk.author, offset=ours.offset, ours=ours.digest, journaled=theirs.digest
        )
        return [Event(told, "state-differs")]
