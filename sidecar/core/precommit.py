"""Phase one of an order: the rules that it must meet before it may be sent.

Owns the checks and their order. It must not journal or answer: `verifier.py` does. A check that raises denies.

| rule       | codes                                          | cancels |
|------------|------------------------------------------------|---------|
| used once  | DUPLICATE, CAPACITY                            | too     |
| the holder | STALE_TOKEN                                    | too     |
| its kind   | NO_ORIGINAL, REPLACE_PENDING, BAD_TRANSFER     | no      |
| halts      | HALTED, CANCEL_ONLY, REDUCING                  | pass    |
| degraded   | REDUCING                                       | pass    |
| numbers    | BAD_QTY, BAD_PRICE                             | pass    |
| limits     | those of `limits.py`, LIMIT_CHECK_FAILED       | pass    |
"""

from decimal import Decimal

from sidecar.core.ladder import Subject, forbidding, permits, sentence
from sidecar.core.leadership import Desk
from sidecar.core.limit_desk import LimitDesk
from sidecar.core.limits import Breach
from sidecar.core.order import CANCELS, Order
from sidecar.core.outputs import Now
from sidecar.core.plans import Plans
from sidecar.messages.control import TradingState
from sidecar.messages.orders import OrderIntent, Phase

OPEN_MAX = 100_000
"""Orders that may wait for something at once; one more is denied, a cancel at twice as many. Higher costs memory."""


class Precommit:
    """The rules, at one leader's desk."""

    def __init__(self, desk: Desk, plans: Plans, limits: LimitDesk) -> None:
        self._desk = desk
        self._plans = plans
        self._limits = limits

    def breach(self, intent: OrderIntent, known: Order | None, now: Now) -> Breach | None:
        """The first rule that the order breaks; None when it may be sent.

        A question that is repeated was counted when it was granted, and is not held against itself. What the venue
        has seen is no repetition: it was sent.
        """
        repeated = (
            known is not None and known.intent == intent and known.phase is Phase.PRECOMMITTED and not known.executions
        )
        return (
            (None if repeated else self._used(intent))
            or self._holder(intent)
            or (None if repeated else self._kind(intent))
            or self._halted(intent)
            or self._degraded(intent)
            or _numbers(intent)
            or (None if repeated else self._limits.breach(intent, now))
        )

    def _used(self, intent: OrderIntent) -> Breach | None:
        book = self._desk.state.book
        seen = intent.cl_ord_id in book.orders or intent.cl_ord_id in book.refused or book.remembers(intent.cl_ord_id)
        if seen or intent.cl_ord_id in book.external:
            return _breach("DUPLICATE", f"ClOrdID {intent.cl_ord_id} was used before: take a new one for a new order")
        if book.open_count >= OPEN_MAX * (2 if intent.kind in CANCELS else 1):
            return _breach("CAPACITY", f"{OPEN_MAX} orders wait for reports or evidence")
        if intent.kind not in CANCELS and book.exposure.full(intent.venue, intent.account, intent.symbol):
            return _breach("CAPACITY", f"there is no room for a position in {intent.symbol}: too many are open")
        return None

    def _holder(self, intent: OrderIntent) -> Breach | None:
        holder = self._desk.state.holders.get(intent.slot)
        if holder is None:
            return _breach("STALE_TOKEN", f"slot {intent.slot} has no holder: token {intent.token} has ended")
        if (holder.component, holder.incarnation, holder.token) == (intent.component, intent.incarnation, intent.token):
            return None
        return _breach(
            "STALE_TOKEN",
            f"slot {intent.slot} is held by {holder.component} under token {holder.token}, "
            f"not by {intent.component} under {intent.token}",
        )

    def _kind(self, intent: OrderIntent) -> Breach | None:
        if intent.kind == "TRANSFER" and intent.to_account in ("", intent.account):
            return _breach("BAD_TRANSFER", "a transfer names another account in to_account")
        return self._replacement(intent) if intent.kind == "REPLACE" else None

    def _replacement(self, intent: OrderIntent) -> Breach | None:
        orders, name = self._desk.state.book.orders, intent.orig_cl_ord_id
        target = orders.get(name)
        if target is None or not target.resting:
            return _breach("NO_ORIGINAL", f"ClOrdID {name} is no open order: it was never granted, or has ended")
        if target.replaced_by:
            return _breach("NO_ORIGINAL", f"ClOrdID {name} was replaced by {target.replaced_by}: name that one")
        theirs = target.intent
        if (theirs.venue, theirs.account, theirs.symbol, theirs.side) != (
            intent.venue,
            intent.account,
            intent.symbol,
            intent.side,
        ):
            return _breach("NO_ORIGINAL", f"ClOrdID {name} is of another venue, account, symbol or side")
        if target.replacing:
            text = f"ClOrdID {name} is being replaced by {target.replacing}: wait until its end is known"
            return _breach("REPLACE_PENDING", text)
        return None

    def _halted(self, intent: OrderIntent) -> Breach | None:
        halts = self._desk.state.halts.values()
        for group in self._plans.claims(intent.component) if halts else ():
            subject = Subject(
                component=intent.component,
                group=group,
                venue=intent.venue,
                account=intent.account,
                symbol=intent.symbol,
                strategy=intent.strategy,
            )
            halt = forbidding(halts, subject, kind=intent.kind, reduces_risk=intent.reduces_risk)
            if halt is not None:
                return _breach(halt.level.name, sentence(halt))
        return None

    def _degraded(self, intent: OrderIntent) -> Breach | None:
        group = self._plans.group_of(intent.component)
        reason = self._desk.state.degraded.get(group)
        state = TradingState.REDUCING
        if reason is None or permits(state, kind=intent.kind, reduces_risk=intent.reduces_risk, reducing_allowed=True):
            return None
        return _breach(state.name, f"group {group} is degraded to {state.name}: {reason}")


def _numbers(intent: OrderIntent) -> Breach | None:
    if intent.kind in CANCELS:
        return None  # A cancel always passes; its quantity says nothing.
    if not _positive(intent.qty):
        return _breach("BAD_QTY", f"qty {intent.qty} is not a positive number")
    if intent.price is not None and not _positive(intent.price):
        return _breach("BAD_PRICE", f"price {intent.price} is not a positive number; leave it out for a market order")
    return None


def _breach(code: str, text: str) -> Breach:
    return Breach(code=code, text=text)


def _positive(value: Decimal) -> bool:
    return value.is_finite() and value > 0
