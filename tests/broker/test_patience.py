"""When a node that is of no use is left."""

from itertools import pairwise

import pytest

from sidecar.broker.patience import LONGEST_NS, Patience
from sidecar.broker.rabbit import RabbitBroker


def test_use_is_waited_for() -> None:
    """A node that was of use lately is kept, and one that was not is left, once."""
    patience = Patience(100, chance=lambda: 0.0)
    assert not patience.over(1_000, 1_099)
    assert patience.over(1_000, 1_100)
    assert not patience.over(1_000, 1_101)


def test_each_move_is_rarer() -> None:
    """While nothing helps the time between moves doubles, up to a bound."""
    patience, now_ns = Patience(LONGEST_NS // 4, chance=lambda: 0.0), 0
    moves: list[int] = []
    while len(moves) < 4:
        now_ns += LONGEST_NS // 4
        if patience.over(0, now_ns):
            moves.append(now_ns)
    assert [later - earlier for earlier, later in pairwise(moves)] == [
        LONGEST_NS // 2,
        LONGEST_NS,
        LONGEST_NS,
    ]


def test_use_begins_it_anew() -> None:
    """A node that was of use after a move is borne for the first time again."""
    patience = Patience(100, chance=lambda: 0.0)
    assert patience.over(0, 100)
    assert not patience.over(500, 599)
    assert patience.over(500, 600)


def test_many_do_not_move_in_step() -> None:
    """Chance adds up to half of the time."""
    patience = Patience(100, chance=lambda: 1.0)
    assert not patience.over(0, 149)
    assert patience.over(0, 150)


@pytest.mark.parametrize("count", [1, 3])
def test_each_process_begins_somewhere(count: int) -> None:
    """Each process has all nodes, in an order of its own."""
    urls = [f"amqp://user:secret@node-{each}/" for each in range(count)]
    seen = {RabbitBroker(urls, name="test").urls for _ in range(200)}
    assert {each[0] for each in seen} == set(urls)
    assert all(sorted(each) == urls for each in seen)
