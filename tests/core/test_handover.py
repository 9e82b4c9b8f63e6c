"""Whose states one sidecar takes, which are missing, and which it sends."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.handover import (
    ASK_AGAIN_NS,
    WAITING_MAX_NS,
    Acknowledge,
    Ask,
    HandOver,
    Refuse,
    Save,
)
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.local import StateKept
from sidecar.messages.state import PIECE_BYTES, STATES_MAX, SlotState, SlotWord, StatePiece, StateSaved, StateWanted

SLOT = "g/0"
T1, T2, T3 = Token(1, 1), Token(1, 2), Token(2, 3)
MOST = 3 * PIECE_BYTES


def pieces(version: int = 1, body: bytes = b"one", *, sender: str = "b", held: Token = T1, **changes: Any) -> list[Any]:
    """A state as its holder sends it."""
    count = max(1, -(-len(body) // PIECE_BYTES))
    fields: dict[str, Any] = {
        "component": sender,
        "slot": SLOT,
        "held": held,
        "author": sender,
        "incarnation": f"{sender}~1",
        "token": held,
        "version": version,
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "count": count,
        **changes,
    }
    cut = [body[n * PIECE_BYTES : (n + 1) * PIECE_BYTES] for n in range(count)]
    return [StatePiece(**{"n": n, "data": data, **fields}) for n, data in enumerate(cut)]


def kept(version: int, token: Token = T1, component: str = "b", slot: str = SLOT) -> StateKept:
    """As it is on disk."""
    return StateKept(component=component, slot=slot, version=version, size=3, token=token, incarnation="i")


def word(component: str = "b", token: Token = T1, known: int = 0, known_token: Token = T1) -> SlotWord:
    """An arbiter's word."""
    return SlotWord(slot=SLOT, component=component, token=token, known_version=known, known_token=known_token)


def standby(*has: StateKept, confirmed: bool = True) -> HandOver:
    """Sidecar `a`, which knows that `b` holds the slot."""
    made = HandOver("a", MOST, {each.slot: each for each in has})
    assert made.join("g") == [Ask()]
    if confirmed:
        assert made.words([word()], 0) == []
    return made


def feed(core: HandOver, parts: list[Any], now_ns: int = 0) -> list[Any]:
    """All outputs, for pieces that are their own handles."""
    return [output for each in parts for output in core.piece(each, each, now_ns)]


def saves(core: HandOver, parts: list[Any], now_ns: int = 0) -> None:
    """It is taken and saved."""
    (save,) = feed(core, parts, now_ns)
    assert isinstance(save, Save)
    core.saved(save.kept, now_ns)


@pytest.mark.parametrize("size", [0, 3, PIECE_BYTES, PIECE_BYTES + 1, MOST])
def test_a_state_arrives_whole(size: int) -> None:
    """A holder's state is saved once its last piece is here, with its bytes as they were."""
    core, body = standby(), bytes(size)
    (save,) = feed(core, pieces(4, body))
    assert isinstance(save, Save)
    assert (save.body, save.kept.version, save.kept.component, save.sender) == (body, 4, "b", "b")
    core.saved(save.kept, 0)
    assert core.states == (SlotState(SLOT, T1, 4),)


def test_only_newer_states_count() -> None:
    """What is kept or older is not taken again; the same one is acknowledged again."""
    core = standby(kept(4))
    assert feed(core, pieces(3)) == []
    assert feed(core, pieces(4)) == [Acknowledge("b", kept(4))]
    assert feed(core, pieces(5)) != []


def test_a_new_holders_state_waits_for_an_arbiters_word() -> None:
    """A state under a token that nobody confirmed is doubted, and saved when the word confirms it."""
    core = standby(kept(9))
    assert feed(core, pieces(2, sender="c", held=T2)) == []
    assert list(core.doubts) == [SLOT]
    (save,) = core.words([word("c", T2)], 1)
    assert isinstance(save, Save) and save.kept.version == 2
    assert list(core.doubts) == []


@pytest.mark.parametrize(
    ("sender", "held", "said"), [("c", T1, word()), ("c", T2, word("b", T2)), ("b", T2, word("c", T2))]
)
def test_a_forged_holder_is_refused(sender: str, held: Token, said: SlotWord) -> None:
    """Who does not hold the slot by the arbiter's word is refused, whatever token it names."""
    core, parts = standby(), pieces(5, sender=sender, held=held)
    outputs = [*feed(core, parts), *core.words([said], 0)]
    assert [(type(each), each.code) for each in outputs if isinstance(each, Refuse)] == [(Refuse, "wrong-sender")]
    assert core.states == ()


def test_an_invented_token_is_refused_in_time() -> None:
    """A token above every holder's is refused after a while, and blocks nobody's states meanwhile."""
    core = standby()
    assert feed(core, pieces(1, sender="c", held=Token(99, 99))) == []
    assert core.words([word()], 5) == []
    assert list(core.doubts) == [SLOT]
    saves(core, pieces(7))
    assert core.tick(WAITING_MAX_NS - 1) == []
    (refused,) = core.tick(WAITING_MAX_NS)
    assert isinstance(refused, Refuse) and refused.code == "wrong-sender" and "99.99" in refused.text
    saves(core, pieces(8))


def test_an_old_holder_that_wakes_overwrites_nothing() -> None:
    """Once a state of a newer holder is kept, nothing under an older token is taken, however high its version."""
    core = standby(kept(4))
    core.words([word("c", T2)], 0)
    saves(core, pieces(2, sender="c", held=T2))
    assert feed(core, pieces(99)) == []
    assert core.fenced == 1
    assert core.states == (SlotState(SLOT, T2, 2),)


def test_the_last_state_of_a_predecessor_may_come_late() -> None:
    """Who was granted a slot takes what its predecessor had sent, until its component has begun to work."""
    core = standby(kept(4))
    core.hold([SlotToken(SLOT, T2)])
    saves(core, pieces(5))
    core.taken(SLOT)
    assert feed(core, pieces(6)) == []
    assert core.fenced == 1


def test_what_was_to_be_saved_is_judged_again() -> None:
    """A state that waits for the disk while our component begins to work is not saved any more."""
    core = standby(kept(4))
    core.hold([SlotToken(SLOT, T2)])
    (save,) = feed(core, pieces(5))
    core.taken(SLOT)
    assert core.refuses(save.kept)


def test_a_gap_loses_the_state_and_it_is_asked_for() -> None:
    """A missing piece leaves the older state, and the newer one is asked for until it is here."""
    core, parts = standby(kept(1)), pieces(5, bytes(MOST))
    assert feed(core, [parts[0], parts[2], parts[1]], 7) == []
    assert feed(core, [parts[0], parts[2], parts[2]], 7) == []
    assert core.tick(7 + ASK_AGAIN_NS - 1) == []
    assert core.tick(7 + ASK_AGAIN_NS) == [Ask()]
    assert core.tick(8 + ASK_AGAIN_NS) == []
    assert core.lag_ns(SLOT, 7 + 5 * MS) == 5 * MS
    saves(core, pieces(5, bytes(MOST)), 9)
    assert core.tick(9 + 5 * ASK_AGAIN_NS) == []
    assert core.lag_ns(SLOT, 10) == 0


def test_pieces_that_come_twice_change_nothing() -> None:
    """A repeated piece is passed over, and the state is whole all the same."""
    parts = pieces(5, bytes(range(256)) * 1024)
    (save,) = feed(standby(), [parts[0], parts[0], parts[1]])
    assert save.body == bytes(range(256)) * 1024


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"size": MOST + 1}, "too-large"),
        ({"slot": "other/0"}, "wrong-sender"),
        ({"slot": "g"}, "wrong-sender"),
        ({"count": 2}, "wrong-field"),
        ({"count": 0}, "wrong-field"),
        ({"size": 4}, "wrong-field"),
        ({"size": -1}, "wrong-field"),
        ({"version": 0}, "wrong-field"),
        ({"token": T3}, "wrong-field"),
        ({"sha256": "x"}, "wrong-field"),
        ({"slot": "g/" + "x" * 500}, "wrong-sender"),
    ],
)
def test_bad_pieces_are_refused(changes: dict[str, Any], code: str) -> None:
    """A piece that contradicts itself, is of another group or too large is refused with its reason."""
    core = standby()
    (refused,) = feed(core, pieces(**{"version": 3, **changes}))
    assert isinstance(refused, Refuse) and refused.code == code
    assert core.states == ()


def test_a_state_that_is_too_large_names_the_limit() -> None:
    """The refusal of a large state says which setting allows how much."""
    (refused,) = feed(standby(), pieces(3, bytes(MOST + 1))[:1])
    assert f"component.state_bytes_max is {MOST}" in refused.text


def test_slots_are_bounded() -> None:
    """Of more slots than are kept the first piece is refused."""
    core = standby(*(kept(1, slot=f"g/{n}") for n in range(STATES_MAX)))
    (refused,) = feed(core, pieces(3, slot="g/x"))
    assert refused.code == "too-large"


def test_what_is_not_what_its_hash_says_is_refused() -> None:
    """A state whose hash is wrong is a dead letter, and the one before it stays."""
    core = standby(kept(1))
    (save,) = feed(core, pieces(3))
    (refused,) = core.not_saved(save, "torn")
    assert isinstance(refused, Refuse) and refused.code == "wrong-field"
    assert core.states == (SlotState(SLOT, T1, 1),)


def test_a_holder_sends_what_the_asker_lacks() -> None:
    """Who asks is sent the states of the slots that are held here, where its own are older."""
    core = HandOver("a", MOST, {SLOT: kept(4), "g/1": kept(4, slot="g/1"), "g/2": kept(4, slot="g/2")})
    core.join("g")
    core.hold([SlotToken(SLOT, T2), SlotToken("g/1", T2)])
    has = (SlotState(SLOT, T1, 3), SlotState("g/1", T1, 4))
    assert core.wanted(StateWanted(component="c", group="g", has=has)) == (SLOT,)
    assert core.wanted(StateWanted(component="c", group="g")) == (SLOT, "g/1")
    assert core.wanted(StateWanted(component="c", group="other")) == ()
    assert core.wanted(StateWanted(component="a", group="g")) == ()


def test_who_gave_a_slot_back_still_sends_what_it_made() -> None:
    """What our component handed over before it died goes to who asks, and nothing that another one made."""
    core = standby()
    core.hold([SlotToken(SLOT, T2), SlotToken("g/1", T2)])
    core.saved(kept(5, T2, "a"), 0)
    core.saved(kept(5, T1, "b", "g/1"), 0)
    core.hold([])
    assert core.sent_under(SLOT) == T2
    assert core.wanted(StateWanted(component="c", group="g")) == (SLOT,)
    core.saved(kept(1, T3, "c"), 0)
    assert core.wanted(StateWanted(component="c", group="g")) == ()


def test_a_promoted_sidecar_asks_for_what_it_lacks_until_its_component_begins() -> None:
    """What the arbiter knows of and is not here is asked for, as long as it would still be taken."""
    core = standby(kept(4))
    core.hold([SlotToken(SLOT, T2)])
    core.words([word("a", T2, known=6)], 0)
    assert core.tick(ASK_AGAIN_NS) == [Ask()]
    core.taken(SLOT)
    assert core.tick(5 * ASK_AGAIN_NS) == []


def test_a_late_joiner_takes_an_inherited_state() -> None:
    """A holder that has made no state yet hands on its predecessor's, and that is taken."""
    core = standby(confirmed=False)
    core.words([word("c", T2, known=4)], 0)
    (save,) = feed(core, pieces(4, sender="c", held=T2, token=T1, author="b"))
    assert (save.kept.component, save.kept.token) == ("b", T1)


def test_replicas_are_counted_by_what_they_have() -> None:
    """A standby counts for the versions that it acknowledged, and for nothing that we do not have ourselves."""
    core = standby()
    core.hold([SlotToken(SLOT, T2)])
    mine = kept(5, T2, "a")
    core.saved(mine, 100)
    assert core.unreplicated_ns(SLOT, 150) == 50
    for version in (4, 6):
        core.replica(StateSaved(component="c", slot=SLOT, token=T2, version=version))
    assert core.replicas(SLOT, core.mark(SLOT)) == ()
    core.replica(StateSaved(component="c", slot=SLOT, token=T2, version=5))
    assert core.replicas(SLOT, core.mark(SLOT)) == ("c",)
    assert core.unreplicated_ns(SLOT, 150) == 0


def test_whether_a_state_is_the_last_one() -> None:
    """After a promotion it is unknown until the arbiter has said what the dead holder had told."""
    core = standby(kept(4))
    core.hold([SlotToken(SLOT, T2)])
    assert list(core.doubts) == [SLOT]
    assert [core.is_last(SLOT)] == [None]
    core.words([word("a", T2, known=4)], 0)
    assert list(core.doubts) == []
    assert core.is_last(SLOT)
    core.words([word("a", T2, known=6)], 0)
    assert core.is_last(SLOT) is False
    assert core.known(SLOT).version == 6


def test_what_others_know_is_asked_for() -> None:
    """An arbiter's word on a version that is not here makes it lag, and asked for."""
    core = standby(kept(4))
    core.words([word(known=9)], 50)
    assert core.lag_ns(SLOT, 80) == 30
    assert core.tick(50 + ASK_AGAIN_NS) == [Ask()]


def test_an_older_word_changes_no_holder() -> None:
    """A word that comes late, of an arbiter that was deposed, takes no holder back."""
    core = standby()
    core.words([word("c", T2)], 0)
    core.words([word("b", T1)], 0)
    saves(core, pieces(1, sender="c", held=T2))


def test_arriving_states_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many states that never end take no more room than the bound; the oldest is given up."""
    monkeypatch.setattr("sidecar.core.arriving.ARRIVING_BYTES_MIN", 0)
    core = standby()
    for n in range(20):
        core.words([SlotWord(slot=f"g/{n}", component="b", token=T1)], 0)
        feed(core, pieces(1, bytes(MOST), slot=f"g/{n}")[:2], n)
    (last,) = feed(core, pieces(1, bytes(MOST), slot="g/19")[2:], 20)
    assert isinstance(last, Save)
    assert feed(core, pieces(1, bytes(MOST), slot="g/0")[2:], 20) == []


HOLDERS = {T1: "b", T2: "c", T3: "a"}
"""Who really held the slot under which token."""
STEPS = st.one_of(
    st.tuples(st.just("piece"), st.sampled_from("bcd"), st.sampled_from([T1, T2, T3, Token(9, 9)]), st.integers(1, 3)),
    st.tuples(st.just("word"), st.sampled_from([T1, T2]), st.integers(0, 4)),
    st.tuples(st.sampled_from(["hold", "take", "wait"])),
)


@given(st.lists(STEPS, max_size=30))
def test_no_order_of_events_takes_what_is_not_the_holders(steps: list[tuple[Any, ...]]) -> None:
    """Whatever comes in whatever order, only holders' states are kept, and what is kept never goes back."""
    core, at_ns, began = standby(confirmed=False), 0, False
    for step in steps:
        at_ns, before = at_ns + MS, core.mark(SLOT)
        match step:
            case ("piece", sender, held, version):
                outputs = feed(core, pieces(version, sender=sender, held=held), at_ns)
            case ("word", token, known):
                outputs = core.words([word(HOLDERS[token], token, known=known, known_token=token)], at_ns)
            case ("hold",):
                outputs = []
                core.hold([SlotToken(SLOT, T3)])
            case ("take",):
                outputs = []
                core.taken(SLOT)
                began = began or SLOT in core.held
            case _:
                at_ns += WAITING_MAX_NS
                outputs = core.tick(at_ns)
        for each in outputs:
            if isinstance(each, Save):
                assert HOLDERS[each.kept.token] == each.sender
                assert not began
                core.saved(each.kept, at_ns)
        assert core.mark(SLOT) >= before
        assert core.known(SLOT) >= core.mark(SLOT)
