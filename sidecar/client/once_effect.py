"""One side effect inside its block, and what can be wrong with it: shared by the async and the blocking form.

Owns the errors, the words of the caller and the results as JSON. It must not talk to the sidecar; `once.py` does.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from sidecar.client.errors import SidecarError
from sidecar.messages.local import OncePush, OnceRequest
from sidecar.messages.once import RESULT_BYTES_MAX, OnceAnswer, OnceKind, OnceOutcome, OnceVerdict

TEXT_MAX: Final = 256


class OnceError(SidecarError):
    """The side effect must not be done now. `kind` and `key` name it."""

    def __init__(self, kind: str, key: str, text: str) -> None:
        super().__init__(f"{kind} {key!r}: {text}")
        self.kind, self.key, self.text = kind, key, text


class OnceBusy(OnceError):
    """Somebody does it at this moment, and did not end within `wait_s`."""


class OnceUnknown(OnceError):
    """Nobody knows whether it was done, and no resolver could tell. It stays so until one can."""


class OnceRefused(OnceError):
    """The claim itself is wrong: the same key with other arguments, or no room. The text says which."""


class OnceResultLost(OnceError):
    """It was done, but its result could not be kept; the text says why."""


class OnceUnrecorded(OnceError):
    """It was done by this caller, and nobody could be told: whoever asks again finds it UNKNOWN. `result` is it."""

    def __init__(self, kind: str, key: str, text: str, result: Any) -> None:
        super().__init__(kind, key, text)
        self.result = result


@dataclass(frozen=True, slots=True)
class Happened:
    """A resolver's answer: it was done, and this is its result."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class NeverHappened:
    """A resolver's answer: it was certainly not done, and cannot be any more. An empty list is no such proof."""

    evidence: str


Resolution = Happened | NeverHappened | None
"""None: it cannot be told now."""


class Plan(NamedTuple):
    """What `once` was asked for, besides where."""

    kind: OnceKind
    key: str
    limit_s: float
    wait_s: float
    fingerprint: str
    returns: Any
    nothing_done: tuple[type[BaseException], ...]

    def request(self, *, resolves: bool) -> OnceRequest:
        """The claim."""
        limit_ms = max(1, int(self.limit_s * 1000))
        return OnceRequest(
            kind=self.kind, key=self.key, limit_ms=limit_ms, fingerprint=self.fingerprint, resolves=resolves
        )


class Effect:
    """A side effect: `due` if this block is to do it, else `result` is what came of it, done by the component `by`."""

    def __init__(self, plan: Plan, claim_id: str, *, due: bool, result: Any = None, by: str = "") -> None:
        self.kind, self.key = plan.kind, plan.key
        self.due = due
        self.result = result
        self.by = by
        self._plan = plan
        self._claim_id = claim_id
        self._outcome: OnceOutcome = "DONE"
        self._text = ""
        self._said = False

    def done(self, result: Any = None) -> None:
        """It was done, with this result; a block that ends without a word was done, too, with None."""
        self.result, self._outcome, self._said = result, "DONE", True

    def not_done(self, reason: str) -> None:
        """It certainly was not done; whoever claims it next may do it."""
        self._outcome, self._text, self._said = "NOT_DONE", reason, True

    def push(self, error: BaseException | None = None) -> OncePush:
        """The report on this block, which ended so. An exception after the caller's own word changes nothing of it."""
        outcome, text, result = self._outcome, self._text, ""
        if error is not None and not self._said:
            certain = isinstance(error, self._plan.nothing_done)
            outcome, text = ("NOT_DONE" if certain else "UNKNOWN"), f"the block ended by {type(error).__name__}"
        if outcome == "DONE":
            result, text = encoded(self.result)
        return OncePush(
            claim_id=self._claim_id,
            kind=self.kind,
            key=self.key,
            outcome=outcome,
            result=result,
            text=text[:TEXT_MAX],
        )


def settled(plan: Plan, answer: OnceAnswer) -> Effect | None:
    """The effect where the answer settles it; None for RESOLVE and BUSY. Raises OnceError where it must not be done."""
    match answer.verdict:
        case OnceVerdict.RUN:
            return Effect(plan, answer.claim_id, due=True)
        case OnceVerdict.DONE:
            return Effect(plan, answer.claim_id, due=False, result=_decoded(plan, answer), by=answer.by)
        case OnceVerdict.UNKNOWN:
            raise OnceUnknown(plan.kind, plan.key, f"nobody knows whether {answer.by} did it: {answer.text}")
        case OnceVerdict.REFUSED:
            raise OnceRefused(plan.kind, plan.key, answer.text)
        case OnceVerdict.RESOLVE | OnceVerdict.BUSY:
            return None


def resolved(plan: Plan, answer: OnceAnswer, resolution: Resolution, error: BaseException | None = None) -> OncePush:
    """The report on what a resolver found; it failed if there is an error, and then nobody knows."""
    result, text = "", ""
    outcome: OnceOutcome = "UNKNOWN"
    match resolution:
        case Happened(result=found):
            outcome = "DONE"
            result, text = encoded(found)
        case NeverHappened(evidence=evidence):
            outcome, text = "NOT_DONE", f"resolved: {evidence}"
        case None:
            text = f"the resolver ended by {type(error).__name__}" if error else "the resolver could not tell"
    return OncePush(
        claim_id=answer.claim_id, kind=plan.kind, key=plan.key, outcome=outcome, result=result, text=text[:TEXT_MAX]
    )


def encoded(result: Any) -> tuple[str, str]:
    """A result as JSON, and why there is none if it cannot be kept."""
    try:
        text = msgspec.json.encode(result).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        return "", f"its result is no JSON: {error}"
    if len(text.encode()) > RESULT_BYTES_MAX:
        return "", f"its result is longer than {RESULT_BYTES_MAX} bytes"
    return text, ""


def _decoded(plan: Plan, answer: OnceAnswer) -> Any:
    if not answer.result:
        raise OnceResultLost(
            plan.kind, plan.key, f"it was done by {answer.by}, but {answer.text or 'nothing was kept'}"
        )
    try:
        return msgspec.json.decode(answer.result, type=plan.returns)
    except msgspec.MsgspecError as error:
        raise OnceResultLost(plan.kind, plan.key, f"its result is no {plan.returns}: {error}") from error
