"""Operators and execute-once: what is listed, and what an operator's word settles."""

from typing import Any

import pytest
from desks import Desk, fold, serving

from sidecar.core import once_queries
from sidecar.messages.control import CommandResult
from sidecar.messages.journal import OnceFinished, OnceReleased
from sidecar.messages.once import (
    KEY_MAX,
    RESULT_BYTES_MAX,
    OnceAnswer,
    OnceChanged,
    OnceClaim,
    OnceKind,
    OnceReport,
    OnceState,
    OnceVerdict,
)
from sidecar.messages.once_queries import OnceLine, OncePage, OnceQuery, OnceResolved, ResolveOnce

NOBODY = "nobody"


def claim(key: str, *, resolves: bool = False, kind: OnceKind = "place", claim_id: str = "") -> OnceClaim:
    """A claim of exec-a's."""
    return OnceClaim(
        component="exec-a",
        incarnation="exec-a~1",
        claim_id=f"exec-a.{claim_id or key}",
        kind=kind,
        key=key,
        limit_ns=10**9,
        resolves=resolves,
    )


def told(key: str, outcome: str, result: str = "") -> OnceReport:
    """What became of that claim."""
    return OnceReport(  # A word of a test.
        component="exec-a",
        claim_id=f"exec-a.{key}",
        kind="place",
        key=key,
        outcome=outcome,  # type: ignore[arg-type]  # One of the three.
        result=result,
        text="",
    )


def desk_with(**outcomes: str) -> Desk:
    """A leader with side effects under these keys; RUNNING is left alone."""
    desk = serving()
    for key, outcome in outcomes.items():
        desk.queue(claim(key))
        if outcome != "RUNNING":
            desk.queue(told(key, outcome, '"V-1"' if outcome == "DONE" else ""))
    desk.sent.clear()
    return desk


def settle(desk: Desk, key: str = "k", *, user: str = "operator", **fields: Any) -> CommandResult:
    """An operator's word."""
    values = {"happened": True, "result": '{"OrderID":"V-9"}', "reason": "seen at the venue"}
    request = ResolveOnce(request_id="r", actor="dana", kind="place", key=key, **(values | fields))  # type: ignore[arg-type]  # Of a test's own.
    desk.queue(request, user=user)
    return desk.replies(CommandResult)[-1]


def listed(desk: Desk, **fields: Any) -> list[list[OnceLine]]:
    """Every page."""
    found, after = [], ""
    while True:
        desk.queue(OnceQuery(request_id="q", actor=NOBODY, after=after, **fields), user=NOBODY)
        page = desk.replies(OncePage)[-1]
        found.append(list(page.effects))
        after = page.next
        if not after:
            return found


def test_it_happened() -> None:
    """An UNKNOWN effect that an operator says happened is DONE for everybody, with that result, journaled and told."""
    desk = desk_with(k="UNKNOWN")
    answer = settle(desk)
    assert (answer.ok, answer.code) == (True, "RESOLVED")
    fact = desk.journal[-1].fact
    assert isinstance(fact, OnceFinished)
    assert (fact.actor, fact.component, fact.claim_id) == ("dana", "exec-a", "exec-a.k")
    assert "seen at the venue" in fact.text
    (event,) = desk.events(OnceResolved)
    assert (event.happened, event.actor, event.reason) == (True, "dana", "seen at the venue")
    desk.queue(claim("k", claim_id="later"))
    got = desk.replies(OnceAnswer)[-1]
    assert (got.verdict, got.result) == (OnceVerdict.DONE, '{"OrderID":"V-9"}')


def test_it_never_happened() -> None:
    """An UNKNOWN effect that an operator says never happened may be claimed and run again."""
    desk = desk_with(k="UNKNOWN")
    assert settle(desk, happened=False, result="").ok
    fact = desk.journal[-1].fact
    assert isinstance(fact, OnceReleased)
    assert (fact.actor, fact.reason) == ("dana", "seen at the venue")
    desk.queue(claim("k", claim_id="later"))
    assert desk.replies(OnceAnswer)[-1].verdict is OnceVerdict.RUN


def test_what_comes_late_of_whoever_ran_it() -> None:
    """After an operator's `never`, a late DONE of the claim that ran counts; against a new claim it contradicts."""
    desk = desk_with(k="UNKNOWN", other="UNKNOWN")
    for key in ("k", "other"):
        assert settle(desk, key, happened=False, result="").ok
    desk.queue(claim("other", claim_id="second"))
    for key in ("k", "other"):
        desk.queue(told(key, "DONE", '"V-1"'))
    done = desk.core.state.once.get("place", "k")
    assert done is not None
    assert (done.state, done.result) == (OnceState.DONE, '"V-1"')
    assert [each.change for each in desk.events(OnceChanged)] == ["CONTRADICTED"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"user": NOBODY}, "security.operators"),
        ({"reason": " "}, "needs a reason"),
        ({"reason": "x" * 300}, "needs a reason"),
        ({"result": "not json"}, "no JSON"),
        ({"result": ""}, "no JSON"),
        ({"result": '"' + "x" * RESULT_BYTES_MAX + '"'}, "longer than"),
        ({"happened": False}, "has no result"),
        ({"key": "running"}, "is not UNKNOWN, but RUNNING"),
        ({"key": "resolving"}, "is not UNKNOWN, but RESOLVING"),
        ({"key": "done"}, "is not UNKNOWN, but DONE"),
        ({"key": "nothing"}, "nothing is known"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], why: str) -> None:
    """Only an operator settles what is UNKNOWN, with a reason and a result that can be read; else nothing changes."""
    desk = desk_with(k="UNKNOWN", running="RUNNING", done="DONE", resolving="UNKNOWN")
    desk.queue(claim("resolving", resolves=True, claim_id="again"))
    before = desk.facts()
    answer = settle(desk, **fields)
    assert (answer.ok, answer.code, why in answer.text) == (False, "REFUSED", True), answer.text
    assert desk.facts() == before


def test_the_list() -> None:
    """Those under way come first, the oldest first, then those done, the newest first, each with its time."""
    desk = desk_with(a="DONE", b="UNKNOWN", c="RUNNING", d="DONE")
    (page,) = listed(desk)
    assert [(each.key, each.state) for each in page] == [
        ("b", "UNKNOWN"),
        ("c", "RUNNING"),
        ("d", "DONE"),
        ("a", "DONE"),
    ]
    assert all(each.at_ns == desk.now.wall_ns for each in page)
    assert [each.key for each in listed(desk, states=(OnceState.UNKNOWN,))[0]] == ["b"]
    assert [each.key for each in listed(desk, key="d")[0]] == ["d"]
    assert listed(desk, kinds=("transfer",)) == [[]]
    assert listed(desk, component="exec-b") == [[]]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_hold_each_effect_once(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Pages together hold every effect once, however few are looked at for each."""
    monkeypatch.setattr(once_queries, "LOOKED_MAX", 3)
    desk = desk_with(**{f"{'du'[at % 2]}{at}": ("DONE", "UNKNOWN")[at % 2] for at in range(9)})
    found = [each.key for page in listed(desk, limit=limit) for each in page]
    assert found == ["u1", "u3", "u5", "u7", "d8", "d6", "d4", "d2", "d0"]
    rare = [each.key for page in listed(desk, limit=limit, key="d0") for each in page]
    assert rare == ["d0"]


def test_a_page_is_bounded_in_bytes() -> None:
    """A page of the longest keys and results can be read, and the next one goes on."""
    desk = serving()
    for at in range(200):
        key = f"{at:03d}" + "\x01" * (KEY_MAX - 3)
        desk.queue(claim(key))
        desk.queue(told(key, "DONE", '"' + "\x7f" * 8_000 + '"'))
    assert sum(map(len, listed(desk))) == 200


def test_a_fresh_reader_folds_the_same() -> None:
    """What operators settled is in the journal: a fresh reader has the same state."""
    desk = desk_with(k="UNKNOWN", never="UNKNOWN")
    settle(desk)
    settle(desk, "never", happened=False, result="")
    assert fold(desk.journal).digest() == desk.core.state.digest()
