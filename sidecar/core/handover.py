"""The states of a group's slots at one sidecar: which to take over from whom, what is missing, and what may be sent.

Owns the standby's and the holder's account of every slot's state. It must not know files, sockets, clocks or what a
state says: times are arguments in nanoseconds, and what must happen comes back as outputs.

A state is (token, version, bytes). The order is by token, then version (`marks.py`); only what is beyond the kept one
is taken, whole or not at all. Who sends it must hold the slot, by the arbiters' own word: a token that nobody has
confirmed is asked about in the next heartbeat (`doubts`), which is sent at once, and what came under it waits.

| the slot  | input                                               | becomes  | what follows                            |
|-----------|-----------------------------------------------------|----------|-----------------------------------------|
| any       | first piece of a state beyond the kept one          | arriving | an older one that arrives is dropped    |
| any       | the first piece of exactly what is kept, by holder  | same     | Acknowledge                             |
| any       | a piece of what is kept, or of less                 | same     | nothing                                 |
| any       | a piece under a token below the fence               | same     | it is counted: a holder of the past     |
| any       | a piece from one who does not hold the slot         | same     | Refuse (wrong-sender)                   |
| any       | a piece that contradicts itself, or is too large    | same     | Refuse (wrong-field, too-large)         |
| arriving  | the next piece                                      | arriving | nothing                                 |
| arriving  | another piece than the next one                     | -        | nothing; `tick` asks for the state again|
| arriving  | the last piece, from the confirmed holder           | saving   | Save                                    |
| arriving  | the last piece, under a token not yet confirmed     | waiting  | a doubt                                 |
| waiting   | a word that confirms it                             | saving   | Save                                    |
| waiting   | a word that names another holder, or WAITING_MAX_NS | -        | Refuse (wrong-sender)                   |
| saving    | saved                                               | kept     | the fence rises to its token            |
| saving    | not saved (disk, checksum)                          | -        | `tick` asks for the state again         |

The fence is the highest token of a state that is kept here, or under which our own component has begun to work: who
was granted a slot takes what its predecessor had sent before, until its component reads the state or hands one over
(`taken`). From then on nothing older counts, so a paused holder that wakes overwrites nobody.

Which way it fails: to the older state. What is forged, torn or doubtful is not taken, and the lag says that something
is missing. A forger inside the group who knows a real token and holds nothing gains nothing; one who holds the slot may
hand over what it likes, as its holder.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from sidecar.core.arriving import ARRIVING_BYTES_MIN, Arrivals, Way, Whole
from sidecar.core.marks import NOTHING, Mark, Marks
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.local import StateKept
from sidecar.messages.state import (
    NO_TOKEN,
    PIECE_BYTES,
    STATES_MAX,
    SlotState,
    SlotWord,
    StatePiece,
    StateSaved,
    StateWanted,
)

WAITING_MAX_NS: Final = 10_000 * MS
"""A state whose sender no arbiter confirms within this is refused."""
ASK_AGAIN_NS: Final = 1_000 * MS
"""Between two askings, and after the last piece of anything. Lower floods a holder whose states are large."""
SHA256_DIGITS: Final = 64
SLOT_MAX: Final = 200
REPLICAS_MAX: Final = 256
"""Members of a group at most."""


@dataclass(frozen=True, slots=True)
class Save:
    """Check the whole against its hash, write it to disk, and say `saved` or `not_saved`. `handle` is a delivery."""

    kept: StateKept
    body: bytes
    sha256: str
    sender: str
    handle: object = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Put the delivery `handle` away with this reason, and count it."""

    handle: object
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Tell the holder `to` that this is on the disk here."""

    to: str
    kept: StateKept


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the group's holders for what is newer than what is kept here."""


Output = Save | Refuse | Acknowledge | Ask


class Holding(NamedTuple):
    """Who holds a slot, under which token."""

    component: str
    token: Token


class HandOver:
    """The account of one sidecar. `kept` are the states on its disk, by slot; `bytes_max` bounds one state."""

    def __init__(self, component: str, bytes_max: int, kept: Mapping[str, StateKept]) -> None:
        self.component = component
        self.group = ""
        self.kept: dict[str, StateKept] = dict(kept)
        self.fenced = 0
        """Pieces under tokens of the past."""
        self.held: dict[str, Token] = {}
        self._let_go: dict[str, Token] = {}
        self._bytes_max = bytes_max
        self._fence = {slot: each.token for slot, each in kept.items()}
        self._confirmed: dict[str, Holding] = {}
        self._previous: dict[str, Holding] = {}
        self._arriving = Arrivals(bytes_max)
        self._waiting: dict[Way, Whole] = {}
        self._doubted_own: set[str] = set()
        self._known: dict[str, Marks] = {}
        self._answered: set[str] = set()
        self._replicas: dict[str, dict[str, Mark]] = {}
        self._asked_ns = 0
        self._moved_ns = 0

    # --- what heartbeats say ---

    @property
    def states(self) -> tuple[SlotState, ...]:
        """What is kept here, of this group."""
        mine = (each for each in self.kept.values() if self._ours(each.slot))
        return tuple(SlotState(each.slot, each.token, each.version) for each in mine)[:STATES_MAX]

    @property
    def doubts(self) -> tuple[str, ...]:
        """Slots of which an arbiter's word is wanted."""
        return tuple(sorted(self._doubted_own.union(each.slot for each in self._waiting)))

    # --- inputs ---

    def join(self, group: str) -> list[Output]:
        """The group whose states are followed from now on; it is asked for all of them."""
        if group != self.group:
            self.group = group
            self._arriving.clear()
            self._waiting.clear()
        return self.connected()

    def connected(self) -> list[Output]:
        """The way by which states come stands, perhaps again: what came meanwhile was missed."""
        self._arriving.clear()
        self._asked_ns = self._moved_ns = 0
        return [Ask()] if self.group else []

    def hold(self, slots: Iterable[SlotToken]) -> None:
        """The slots that our component holds now."""
        before, self.held = self.held, {each.slot: each.token for each in slots}
        self._let_go.update({slot: token for slot, token in before.items() if slot not in self.held})
        for slot, token in self.held.items():
            if before.get(slot) != token:
                self._confirm(slot, Holding(self.component, token))
                self._answered.discard(slot)
                self._doubted_own.add(slot)
                self._replicas.pop(slot, None)
        self._doubted_own.intersection_update(self.held)

    def taken(self, slot: str) -> None:
        """Our component has begun to work with the state of a slot that it holds: nothing older counts from now on."""
        token = self.held.get(slot)
        if token is not None:
            self._fence[slot] = max(token, self._fence.get(slot, token))

    def piece(self, piece: StatePiece, handle: object, now_ns: int) -> list[Output]:
        """One piece; its sender was verified as the component that it names."""
        mark = Mark(piece.token, piece.version)
        if piece.component == self.component:
            return []
        if refused := self._problem(piece):
            return [Refuse(handle, *refused)] if piece.n == 0 else []
        if piece.token < self._fence.get(piece.slot, piece.token):
            self.fenced += 1
            return []
        if mark <= self.mark(piece.slot):
            repeated = piece.n == 0 and mark == self.mark(piece.slot) and self._judge(piece) == "holder"
            return [Acknowledge(piece.component, self.kept[piece.slot])] if repeated else []
        match self._judge(piece):
            case "past":
                self.fenced += 1
                return []
            case "holder":
                self._hear_of(piece.slot, mark, now_ns)
            case "unknown":
                pass
            case problem:
                return [Refuse(handle, "wrong-sender", problem)] if piece.n == 0 else []
        self._moved_ns = now_ns
        whole = self._arriving.add(piece, handle, now_ns)
        if whole is None:
            return []
        self._wait(whole)
        return self._judge_waiting(piece.slot)

    def words(self, words: Iterable[SlotWord], now_ns: int) -> list[Output]:
        """An arbiter's words on slots of this group."""
        outputs: list[Output] = []
        for word in words:
            if not self._ours(word.slot):
                continue
            if word.component:
                self._confirm(word.slot, Holding(word.component, word.token))
            if word.known_version:
                self._hear_of(word.slot, Mark(word.known_token, word.known_version), now_ns)
            self._answered.add(word.slot)
            self._doubted_own.discard(word.slot)
            outputs += self._judge_waiting(word.slot)
        return outputs

    def refuses(self, kept: StateKept) -> bool:
        """Whether a state that was to be saved must not be any more."""
        return kept.token < self._fence.get(kept.slot, kept.token) or Mark(kept.token, kept.version) <= self.mark(
            kept.slot
        )

    def saved(self, kept: StateKept, now_ns: int) -> None:
        """This is on disk now, handed over by our own component or received."""
        self.kept[kept.slot] = kept
        self._fence[kept.slot] = max(kept.token, self._fence.get(kept.slot, kept.token))
        self._hear_of(kept.slot, Mark(kept.token, kept.version), now_ns)

    def lost(self, slot: str) -> None:
        """What was kept of a slot cannot be read any more."""
        self.kept.pop(slot, None)

    def not_saved(self, save: Save, problem: str) -> list[Output]:
        """It could not be saved: because it is not what its hash says (`problem`), or for want of a disk (empty)."""
        return [Refuse(save.handle, "wrong-field", problem)] if problem else []

    def wanted(self, wanted: StateWanted) -> tuple[str, ...]:
        """The slots whose states go to who asked."""
        if wanted.group != self.group or wanted.component == self.component:
            return ()
        has = {each.slot: Mark(each.token, each.version) for each in wanted.has[:STATES_MAX]}
        mine = (each for each in sorted({*self.held, *self._let_go}) if self.sent_under(each) is not None)
        return tuple(each for each in mine if self.mark(each) > has.get(each, NOTHING))

    def replica(self, saved: StateSaved) -> None:
        """A standby has this on its disk."""
        if saved.slot not in self.held:
            return
        mark, mine = Mark(saved.token, saved.version), self._replicas.setdefault(saved.slot, {})
        room = saved.component in mine or len(mine) < REPLICAS_MAX
        if room and mark <= self.mark(saved.slot):
            mine[saved.component] = max(mark, mine.get(saved.component, NOTHING))

    def tick(self, now_ns: int) -> list[Output]:
        """Refuse what waited too long, and ask for what is missing."""
        outputs: list[Output] = []
        for way, each in sorted(self._waiting.items()):
            if now_ns - each.since_ns >= WAITING_MAX_NS:
                del self._waiting[way]
                text = f"no arbiter confirms that {way.sender} holds {way.slot} under {each.head.held}"
                outputs.append(Refuse(each.handle, "wrong-sender", text))
        if self._missing() and now_ns - max(self._asked_ns, self._moved_ns) >= ASK_AGAIN_NS:
            self._asked_ns = now_ns
            outputs.append(Ask())
        return outputs

    # --- what others ask ---

    def sent_under(self, slot: str) -> Token | None:
        """The token under which our state of the slot may be sent; None when it is not ours to send.

        Who gave a slot back goes on sending what its component had handed over under it: the next holder takes that
        until it begins to work, so that a component that dies right after an answer loses nothing.
        """
        if slot in self.held:
            return self.held[slot]
        token, kept = self._let_go.get(slot), self.kept.get(slot)
        return token if kept is not None and (kept.component, kept.token) == (self.component, token) else None

    @property
    def followed(self) -> tuple[str, ...]:
        """The slots of whose states anything was heard."""
        return tuple(self._known)

    def mark(self, slot: str) -> Mark:
        """How far the state that is kept here has got."""
        kept = self.kept.get(slot)
        return NOTHING if kept is None else Mark(kept.token, kept.version)

    def known(self, slot: str) -> Mark:
        """The furthest that was heard of."""
        marks = self._known.get(slot)
        return self.mark(slot) if marks is None else max(marks.newest, self.mark(slot))

    def is_last(self, slot: str) -> bool | None:
        """Whether the kept state is the last that was told of; None while no arbiter has said what was."""
        if self.mark(slot) < self.known(slot):
            return False
        return True if slot in self._answered or self.mark(slot).token == self.held.get(slot) else None

    def lag_ns(self, slot: str, now_ns: int) -> int:
        """For how long something newer than what is kept here has been known."""
        marks = self._known.get(slot)
        return 0 if marks is None else marks.lag_ns(self.mark(slot), now_ns)

    def replicas(self, slot: str, mark: Mark) -> tuple[str, ...]:
        """The standbys that have this or more on their disks."""
        return tuple(sorted(each for each, got in self._replicas.get(slot, {}).items() if got >= mark))

    def unreplicated_ns(self, slot: str, now_ns: int) -> int:
        """For how long our own component's newest state has been on no standby's disk."""
        token, marks = self.held.get(slot), self._known.get(slot)
        if token is None or marks is None:
            return 0
        return marks.lag_ns(max([Mark(token, 0), *self._replicas.get(slot, {}).values()]), now_ns)

    # --- inside ---

    def _ours(self, slot: str) -> bool:
        return bool(self.group) and slot.startswith(f"{self.group}/")

    def _problem(self, piece: StatePiece) -> tuple[str, str] | None:
        """Code and text of what is wrong with a piece, whoever sent it."""
        if not self._ours(piece.slot) or len(piece.slot) > SLOT_MAX:
            return "wrong-sender", f"{piece.slot[:SLOT_MAX]!r} is no slot of group {self.group!r}"
        if piece.size > self._bytes_max:
            return "too-large", (
                f"{piece.slot} version {piece.version} has {piece.size} bytes, and component.state_bytes_max is "
                f"{self._bytes_max} here: raise it on every member of the group"
            )
        count = max(1, -(-piece.size // PIECE_BYTES))
        length = min(PIECE_BYTES, piece.size - piece.n * PIECE_BYTES)
        shape = (piece.count, len(piece.data)) == (count, length) and 0 <= piece.n < count
        if not shape or piece.version < 1 or piece.token > piece.held or len(piece.sha256) != SHA256_DIGITS:
            return "wrong-field", f"piece {piece.n} of {piece.count} of {piece.slot} contradicts itself"
        if piece.slot not in self.kept and len(self._slots | {piece.slot}) > STATES_MAX:
            return "too-large", f"the states of {STATES_MAX} slots are kept here already, and {piece.slot} is one more"
        return None

    @property
    def _slots(self) -> set[str]:
        return {*self.kept, *self._arriving.slots, *(each.slot for each in self._waiting)}

    def _judge(self, piece: StatePiece) -> str:
        """Whether the sender is the slot's "holder", one of the "past", or "unknown" as yet; else what is wrong."""
        sender, known = Holding(piece.component, piece.held), self._confirmed.get(piece.slot)
        if known is None or sender.token > known.token:
            return "unknown"
        if sender in (known, self._previous.get(piece.slot)):
            return "holder"
        if sender.token < known.token:
            return "past"
        return f"{piece.slot} is held by {known.component} under {known.token}, not by {sender.component}"

    def _wait(self, whole: Whole) -> None:
        self._waiting[whole.way] = whole
        while sum(each.head.size for each in self._waiting.values()) > max(ARRIVING_BYTES_MIN, 2 * self._bytes_max):
            del self._waiting[min(self._waiting, key=lambda way: self._waiting[way].since_ns)]

    def _judge_waiting(self, slot: str) -> list[Output]:
        outputs: list[Output] = []
        for way, each in sorted(self._waiting.items()):
            if way.slot != slot or (verdict := self._judge(each.head)) == "unknown":
                continue
            del self._waiting[way]
            if verdict == "past" or self.refuses(each.kept):
                self.fenced += 1
            elif verdict != "holder":
                outputs.append(Refuse(each.handle, "wrong-sender", verdict))
            else:
                self._hear_of(slot, Mark(each.head.token, each.head.version), each.since_ns)
                outputs.append(Save(each.kept, each.body, each.head.sha256, way.sender, each.handle))
        return outputs

    def _confirm(self, slot: str, holding: Holding) -> None:
        """The arbiters' word: it only moves on to higher tokens, because an older word may come later."""
        known = self._confirmed.get(slot)
        if known is None or holding.token > known.token:
            self._confirmed[slot] = holding
            if known is not None:
                self._previous[slot] = known

    def _hear_of(self, slot: str, mark: Mark, now_ns: int) -> None:
        if slot in self._known or len(self._known) < 2 * STATES_MAX:
            self._known.setdefault(slot, Marks()).note(mark, now_ns)

    def _missing(self) -> bool:
        """Whether something is known that is not here, and that would still be taken."""
        return any(self.known(slot) > self.mark(slot) for slot in self._known if not self._has_begun(slot))

    def _has_begun(self, slot: str) -> bool:
        token = self.held.get(slot)
        return token is not None and self._fence.get(slot, NO_TOKEN) >= token
