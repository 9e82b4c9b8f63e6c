"""The fold of execute-once: which side effects were claimed, and what became of them. Same journal, same table.

Owns the entries, the log's own clock and the forgetting of results after KEPT_NS. It must not decide who may run
anything: `once.py` does. Facts of any order are folded; what does not fit changes nothing.

| fact             | the entry                                                                    |
|------------------|------------------------------------------------------------------------------|
| OnceClaimed      | RUNNING under this claim; RESOLVING where the claim resolves an UNKNOWN one  |
| OnceLost         | UNKNOWN; for ever, until somebody reports or resolves it                     |
| OnceReleased     | gone: it certainly did not happen                                            |
| OnceFinished     | DONE with its result, gone after KEPT_NS of the log's clock                  |
| OnceContradicted | as it was; counted                                                           |

The log's clock goes on with the times that one author wrote, from record to record: never backwards, never more than
STEP_MAX_NS at once, and nothing between two authors. So a wall clock that is wrong or jumps forgets no result early by
more than a step, and what errors remain keep a result for longer.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from sidecar.messages.journal import OnceClaimed, OnceContradicted, OnceFinished, OnceLost, OnceReleased, Record
from sidecar.messages.once import RESULT_BYTES_MAX, OnceKind, OnceState

KEPT_NS: Final = 72 * 3_600 * 1_000_000_000
"""How long a result is given to whoever asks again."""
EXPIRY_NS: Final = 60 * 1_000_000_000
"""Between two looks for results that are to be forgotten."""
STEP_MAX_NS: Final = 10 * 1_000_000_000
"""Between two records of one author no more time passed than this: a leader ticks many times a second."""
ENTRIES_MAX: Final = 100_000
"""Side effects that are remembered. One more is refused: forgetting one early would let it run twice."""
RESULTS_BYTES_MAX: Final = 128 * 1024 * 1024
"""Bytes of results, those that are still to come counted in full."""

OnceFact = OnceClaimed | OnceLost | OnceReleased | OnceFinished | OnceContradicted


class Effect(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One side effect. `claim_id` may run or resolve it now, `ran` is the claim under which it was to happen.

    `at_ns` is that of the record since which it stands so, for people.
    """

    kind: OnceKind
    key: str
    component: str
    incarnation: str
    fingerprint: str
    claim_id: str
    ran: str
    limit_ns: int
    state: OnceState
    result: str = ""
    text: str = ""
    done_ns: int = 0
    at_ns: int = 0


class OnceTable:
    """All side effects by `name_of`: those under way or UNKNOWN, and those done, in the order of their ends."""

    def __init__(self) -> None:
        self.under_way: dict[str, Effect] = {}
        self.done: dict[str, Effect] = {}
        self.result_bytes = 0
        self.contradicted = 0
        self.clock_ns = 0
        self.author = ""
        self.at_ns = 0
        self.looked_ns = 0

    def copy(self) -> "OnceTable":
        """An independent table with the same entries."""
        twin = OnceTable()
        vars(twin).update(vars(self))
        twin.under_way, twin.done = dict(self.under_way), dict(self.done)
        return twin

    def get(self, kind: str, key: str) -> Effect | None:
        """The entry, or None when it may be claimed."""
        name = name_of(kind, key)
        return self.under_way.get(name) or self.done.get(name)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more and its result."""
        reserved = self.result_bytes + (len(self.under_way) + 1) * RESULT_BYTES_MAX
        return len(self.under_way) + len(self.done) >= ENTRIES_MAX or reserved > RESULTS_BYTES_MAX

    def go_on(self, record: Record) -> None:
        """Let the clock run on to this record, and forget what is due."""
        if record.arbiter == self.author:
            step_ns = record.at_ns - self.at_ns
            if step_ns > 0:
                self.clock_ns += step_ns if step_ns < STEP_MAX_NS else STEP_MAX_NS
        self.author, self.at_ns = record.arbiter, record.at_ns
        if self.clock_ns - self.looked_ns >= EXPIRY_NS:
            self.looked_ns = self.clock_ns
            self._forget()

    def apply(self, fact: OnceFact) -> None:
        """The table above."""
        name = name_of(fact.kind, fact.key)
        known = self.under_way.get(name)
        match fact:
            case OnceClaimed() if name not in self.done:
                self.under_way[name] = replace(_claimed(fact, known), at_ns=self.at_ns)
            case OnceLost() if known is not None:
                self.under_way[name] = replace(known, state=OnceState.UNKNOWN, text=fact.reason, at_ns=self.at_ns)
            case OnceReleased():
                self.under_way.pop(name, None)
            case OnceFinished() if name not in self.done:
                self.under_way.pop(name, None)
                self.done[name] = replace(_finished(fact, known, self.clock_ns), at_ns=self.at_ns)
                self.result_bytes += len(fact.result.encode())
            case OnceContradicted():
                self.contradicted += 1
            case _:
                pass

    def _forget(self) -> None:
        before_ns = self.clock_ns - KEPT_NS
        due = []
        for name, effect in self.done.items():
            if effect.done_ns > before_ns:
                break
            due.append(name)
            self.result_bytes -= len(effect.result.encode())
        for name in due:
            del self.done[name]


def name_of(kind: str, key: str) -> str:
    """A side effect's name in the table."""
    return f"{kind}/{key}"


def _claimed(fact: OnceClaimed, known: Effect | None) -> Effect:
    resolving = fact.resolves and known is not None
    return Effect(
        kind=fact.kind,
        key=fact.key,
        component=fact.component,
        incarnation=fact.incarnation,
        fingerprint=known.fingerprint if known is not None and resolving else fact.fingerprint,
        claim_id=fact.claim_id,
        ran=known.ran if known is not None and resolving else fact.claim_id,
        limit_ns=fact.limit_ns,
        state=OnceState.RESOLVING if resolving else OnceState.RUNNING,
    )


def _finished(fact: OnceFinished, known: Effect | None, clock_ns: int) -> Effect:
    return Effect(
        kind=fact.kind,
        key=fact.key,
        component=fact.component,
        incarnation="",
        fingerprint=known.fingerprint if known is not None else "",
        claim_id=fact.claim_id,
        ran=fact.claim_id,
        limit_ns=0,
        state=OnceState.DONE,
        result=fact.result,
        text=fact.text,
        done_ns=clock_ns,
    )
