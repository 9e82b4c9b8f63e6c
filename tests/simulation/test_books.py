"""What a venue says of its orders, in any order: the book folds it to what is true there."""

import random
from decimal import Decimal

import pytest

from sidecar.core.orders import OrderBook
from sidecar.messages.base import Token
from sidecar.messages.journal import AnyFact, EvidenceSeen, OrderPrecommitted, OrderReported, Record
from sidecar.messages.orders import ExecutionReport, OrderIntent, OrderKind
from sidecar.simulator.exchange import RESTING, Exchange

STORIES = 300
"""Each takes less than a millisecond."""
OVERTAKEN = 4
"""A report comes at most so many later than it was said."""


class Story:
    """One chain of orders at a venue: replaced, filled, busted, corrected, cancelled."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.exchange = Exchange()
        self.intents: list[OrderIntent] = []
        self.said: list[ExecutionReport] = []
        self.ask("NEW", Decimal(8))
        for _ in range(self.dice.randrange(2, 8)):
            self.go_on()
        self.said += self.exchange.end(self.intents[0].cl_ord_id, "CANCELED")

    def ask(self, kind: OrderKind, qty: Decimal, orig: str = "") -> None:
        """One more request."""
        intent = OrderIntent(
            cl_ord_id=f"o{len(self.intents)}",
            component="a",
            incarnation="a~1",
            slot="s/0",
            token=Token(1, 1),
            account="main",
            venue="paper",
            symbol="XYZ",
            side="BUY",
            qty=qty,
            price=Decimal(10),
            kind=kind,
            orig_cl_ord_id=orig,
        )
        self.intents.append(intent)
        self.said += self.exchange.take(intent, same_id=self.dice.random() < 0.8)

    def go_on(self) -> None:
        """Something more happens."""
        dice, live = self.dice, self.exchange.open_orders()
        trades = [each for each in self.said if each.exec_type == "TRADE"]
        revised = {each.exec_ref_id for each in self.said}
        standing = [each for each in trades if each.exec_id not in revised]
        roll = dice.random()
        if roll < 0.3 and live:
            self.ask("REPLACE", live[0].cum_qty + dice.randrange(1, 9), live[0].intent.cl_ord_id)
        elif roll < 0.7 and live:
            self.said += self.exchange.fill(live[0].intent.cl_ord_id, Decimal(dice.randrange(1, 5)))
        elif roll < 0.95 and standing:
            trade = dice.choice(standing)
            self.said += self.exchange.revise(trade, dice.choice((Decimal(0), trade.last_qty / 2)))
        elif live:
            for each in live:
                self.said += self.exchange.end(each.intent.cl_ord_id, "EXPIRED")

    def statuses(self) -> list[ExecutionReport]:
        """How each order stands, as some venues answer."""
        return [report for name in self.exchange.booked for report in self.exchange.status_of(name)]


def folded(story: Story, said: list[ExecutionReport]) -> OrderBook:
    """The book after these reports, in this order."""
    book = OrderBook()
    n = 0

    def tell(fact: AnyFact) -> None:
        nonlocal n
        n += 1
        book.apply(Record(term=1, n=n, arbiter="a", at_ns=n, fact=fact))

    for intent in story.intents:
        tell(OrderPrecommitted(intent=intent))
        booked = story.exchange.booked[intent.cl_ord_id]
        if story.dice.random() < 0.5:
            tell(OrderReported(cl_ord_id=intent.cl_ord_id, order_id=booked.order_id, ord_status="NEW"))
    for report in said:
        tell(EvidenceSeen(report=report, source="drop_copy"))
    return book


def mixed_up(story: Story) -> list[ExecutionReport]:
    """All that was said, late, and some of it again much later."""
    dice, said = story.dice, story.said
    late = [(at + dice.random() * OVERTAKEN, at) for at in range(len(said))]
    again = [(at + dice.random() * 3 * OVERTAKEN, at) for at in dice.choices(range(len(said)), k=3)]
    return [said[at] for _, at in sorted([*late, *again])]


@pytest.mark.parametrize("part", range(4))
def test_any_order_of_reports_ends_at_the_truth(part: int) -> None:
    """CumQty, OrdStatus and position are the venue's in the end, however often and mixed up its reports come."""
    for seed in range(part * STORIES, (part + 1) * STORIES):
        story = Story(seed)
        book = folded(story, mixed_up(story))
        held = book.exposure.position("paper", "main", "XYZ")
        truth = story.exchange.positions().get(("main", "XYZ"), Decimal(0))
        assert held == truth, f"seed {seed}"
        for name, booked in story.exchange.booked.items():
            if booked.intent.kind in RESTING and booked.heir is None:
                order = book.orders[name]
                assert (order.cum_qty, order.venue_status) == (booked.cum_qty, booked.status), f"seed {seed}, {name}"
