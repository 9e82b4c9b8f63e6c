"""Reconciliation at the leader's desk: is the venues' word heard, and does what accounts hold agree with their fills?

Owns differences in positions and balances, and the reasons why a reconciler is not heard. Differences in orders are the
verifier's breaks. It must not ask a venue. A statement is late by nature: fills may be on their way on both sides. So
nothing is decided on one statement: see `settling.py`.

| an account's positions                              | what happens                                                 |
|------------------------------------------------------|--------------------------------------------------------------|
| the first two statements differ alike from our fills | StatementAdopted: what it held before us; compared from then |
| two differ alike from our fills                      | DifferenceOpened, told, and halted where the policy says so  |
| one agrees again                                     | DifferenceClosed by evidence                                 |
| an operator resolves, with a reason                  | DifferenceClosed: the venue's word is what we begin from     |

What a balance is compared with says `balances.py`.

A list of open orders proves no absence: an order of ours that should rest there and is not named is asked for.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

from sidecar.core.balances import AccountBalances
from sidecar.core.bounded import drop_oldest
from sidecar.core.differences import DIFFERENCES_MAX, difference_name
from sidecar.core.exact import ZERO, add, subtract
from sidecar.core.leadership import Desk
from sidecar.core.outputs import Event, Now, Origin
from sidecar.core.positions import account_name
from sidecar.core.resolution import resolution
from sidecar.core.sanity import bounded, clip, reason_problem
from sidecar.core.settling import Settling
from sidecar.core.timing import MS
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.journal import DifferenceClosed, DifferenceOpened, StatementAdopted
from sidecar.messages.orders import EvidenceWanted, Phase
from sidecar.messages.reconcile import (
    DifferenceChanged,
    DifferenceStatus,
    OpenOrdersSeen,
    ReconcilerAlive,
    ReconciliationChanged,
    ResolveDifference,
    Statement,
    StatementLine,
    VenueCheck,
)

ACCOUNTS_MAX = 1_000
"""Accounts whose last statement is remembered."""
ASKED_MAX = 100
"""Orders asked for after one list of open orders; the rest after the next one."""
RECONCILERS_MAX = 16
TROUBLES: Final = ("unheard", "unasked", "failing", "behind", "full")
"""No reconciler is heard; a venue is asked by none, gives no answer, or was not checked for long; no room."""
LOOK_NS = 1_000 * MS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRule:
    """`venues` are those that must be checked; none is no reconciler wanted. With `halts` a difference halts.

    `tolerance` is how far balances may be from what fills moved, in percent of what was turned over; None compares no
    balance with fills.
    """

    venues: tuple[str, ...] = ()
    silent_ns: int = 10_000 * MS
    behind_ns: int = 120_000 * MS
    settle_ns: int = 5_000 * MS
    halts: bool = False
    tolerance: Decimal | None = None


class _Seen(NamedTuple):
    """The differences in positions of one account as its statements show them, and since when there are statements."""

    settling: Settling
    first_ns: int


class Reconciliation:
    """Statements, lists and signs of life, at one leader's desk."""

    def __init__(
        self,
        name: str,
        desk: Desk,
        rule: ReconcileRule,
        impose: Callable[[Halt], None],
        operator_problem: Callable[[str], str],
    ) -> None:
        self._name = name
        self._desk = desk
        self._rule = rule
        self._impose = impose
        self._operator_problem = operator_problem
        self._alive: dict[str, tuple[ReconcilerAlive, int]] = {}
        self._seen: dict[str, _Seen] = {}
        self._books: dict[str, AccountBalances] = {}
        self._told: tuple[str, ...] = ()
        self._looked_ns = 0

    def begin_term(self) -> None:
        """Nothing was heard by this leadership yet."""
        self._alive, self._seen, self._books, self._told, self._looked_ns = {}, {}, {}, (), 0

    # --- signs of life ---

    def alive(self, message: ReconcilerAlive, now: Now) -> None:
        """A reconciler lives."""
        self._alive.pop(message.reconciler, None)
        self._alive[message.reconciler] = (message, now.boot_ns)
        drop_oldest(self._alive, RECONCILERS_MAX)

    def tick(self, now: Now) -> None:
        """Say once a second at most when the reasons change."""
        if not self._rule.venues or now.boot_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = now.boot_ns
        reasons = self.reasons(now)
        if reasons != self._told:
            self._told = reasons
            changed = ReconciliationChanged(arbiter=self._name, reasons=reasons)
            self._desk.send(Event(changed, "reconciliation-changed"))

    def reasons(self, now: Now) -> tuple[str, ...]:
        """Why the venues' word is not heard as it should be, as sentences without numbers that change."""
        return tuple(text for _, text in self.troubles(now))

    def troubles(self, now: Now) -> tuple[tuple[str, str], ...]:
        """The same, each with its kind, one of TROUBLES."""
        if not self._rule.venues or now.boot_ns - self._desk.led_since_ns < self._rule.silent_ns:
            return ()
        heard = [each for each, at_ns in self._alive.values() if now.boot_ns - at_ns < self._rule.silent_ns]
        if not heard:
            text = f"no reconciler was heard for {self._rule.silent_ns // MS} ms: nobody asks the venues"
            return (("unheard", text),)
        checks = {check.venue: check for each in heard for check in each.venues}
        found = [each for venue in self._rule.venues if (each := self._trouble(venue, checks.get(venue))) is not None]
        if len(self._desk.state.differences) >= DIFFERENCES_MAX:
            text = f"{DIFFERENCES_MAX} differences are open: further ones are not told until some are closed"
            return (("full", text), *found)
        return tuple(found)

    def _trouble(self, venue: str, check: VenueCheck | None) -> tuple[str, str] | None:
        if check is None:
            return "unasked", f"venue {venue} is asked by no reconciler that is heard"
        if check.trouble:
            return "failing", f"venue {venue}: {clip(check.trouble)}"
        if check.checked_ms_ago is not None and check.checked_ms_ago * MS > self._rule.behind_ns:
            return "behind", f"venue {venue} was not checked whole for more than {self._rule.behind_ns // MS} ms"
        return None

    # --- open orders ---

    def open_orders(self, seen: OpenOrdersSeen) -> None:
        """Ask for each order of ours that should rest there and is not named."""
        listed, book = set(seen.cl_ord_ids), self._desk.state.book
        missing = (
            order
            for order in (book.orders[each] for each in book.unfinished())
            if order.resting
            and order.phase in (Phase.VERIFIED, Phase.COMMITTED)
            and order.intent.venue == seen.venue
            and order.intent.account == seen.account
            and order.intent.cl_ord_id not in listed
        )
        for order in islice(missing, ASKED_MAX):
            wanted = EvidenceWanted(
                arbiter=self._name,
                venue=seen.venue,
                account=seen.account,
                cl_ord_id=order.intent.cl_ord_id,
                phase=order.phase,
                symbol=order.intent.symbol,
                order_id=order.venue_order_id or order.order_id,
            )
            self._desk.send(Event(wanted, f"evidence-wanted.{seen.venue}"))

    # --- statements ---

    def statement(self, statement: Statement, now: Now) -> None:
        """Compare; lines that are no numbers of ours make the whole statement worth nothing."""
        symbols = (name for each in statement.markets for name in (each.symbol, each.quote, each.base or each.quote))
        names = (statement.venue, statement.account, *(each.name for each in statement.lines), *symbols)
        if any(not each or len(each) > len(clip(each)) for each in names):
            return
        if not all(bounded(each.qty) for each in statement.lines):
            return
        theirs = {each.name: each.qty for each in statement.lines}
        if statement.holds == "positions":
            self._positions(statement, theirs, now)
        else:
            self._balances(statement, theirs, now)

    def _positions(self, statement: Statement, theirs: dict[str, Decimal], now: Now) -> None:
        venue, account = statement.venue, statement.account
        known_as = account_name(venue, account)
        seen = self._seen.setdefault(known_as, _Seen(Settling(self._rule.settle_ns), now.boot_ns))
        drop_oldest(self._seen, ACCOUNTS_MAX)
        ours = dict(self._ours(venue, account))
        names = sorted({*ours, *theirs})
        apart = {each: subtract(theirs.get(each, ZERO), ours.get(each, ZERO)) for each in names}
        settled = seen.settling.settled({each: qty for each, qty in apart.items() if qty}, now.boot_ns)
        if known_as not in self._desk.state.openings:
            stood = settled == {each for each in apart if apart[each]}
            if stood and now.boot_ns - seen.first_ns >= self._rule.settle_ns:
                lines = tuple(StatementLine(name=each, qty=apart[each]) for each in names if apart[each])
                self._desk.emit(StatementAdopted(venue=venue, account=account, lines=lines))
            return
        for name in names:
            known = self._desk.state.differences.get(difference_name(venue, account, "positions", name))
            if known is not None and not apart[name]:
                self._close(known, ours.get(name, ZERO), theirs.get(name, ZERO), reason="the venue agrees again")
            elif known is None and name in settled:
                self._open(statement, name, ours.get(name, ZERO), theirs.get(name, ZERO))

    def _ours(self, venue: str, account: str) -> Iterator[tuple[str, Decimal]]:
        """What the account should hold: what it held before us, and the fills since."""
        state = self._desk.state
        openings = {line.name: line.qty for line in state.openings.get(account_name(venue, account), ())}
        positions = {
            each.symbol: each.qty
            for each in state.book.exposure.positions.values()
            if (each.venue, each.account) == (venue, account)
        }
        for name in {*openings, *positions}:
            qty = add(openings.get(name, ZERO), positions.get(name, ZERO))
            yield name, qty

    def _balances(self, statement: Statement, theirs: dict[str, Decimal], now: Now) -> None:
        """Every balance against what it was, and what fills have moved where that is known; see `balances.py`."""
        venue, account = statement.venue, statement.account
        rule = self._rule
        balances = self._books.get(account_name(venue, account))
        if balances is None:
            balances = self._books[account_name(venue, account)] = AccountBalances(rule.settle_ns, rule.tolerance)
            drop_oldest(self._books, ACCOUNTS_MAX)
        for name, qty in theirs.items():
            known = self._desk.state.differences.get(difference_name(venue, account, "balances", name))
            if known is not None and known.ours == qty:
                self._close(known, qty, qty, reason="the balance is as it was")
                balances.agreed(name)
        positions = self._desk.state.book.exposure.positions.values()
        held = tuple(each for each in positions if (each.venue, each.account) == (venue, account))
        for gap in balances.stated(theirs, held, statement.markets, now.boot_ns):
            self._open(statement, gap.name, gap.ours, gap.theirs)

    # --- differences ---

    def _open(self, statement: Statement, name: str, ours: Decimal, theirs: Decimal) -> None:
        key = difference_name(statement.venue, statement.account, statement.holds, name)
        differences = self._desk.state.differences
        if key in differences or len(differences) >= DIFFERENCES_MAX:
            return
        fact = DifferenceOpened(
            venue=statement.venue,
            account=statement.account,
            holds=statement.holds,
            name=name,
            ours=ours,
            theirs=theirs,
        )
        self._desk.emit(fact)
        self._tell(fact, "OPENED", ours, theirs)
        halt_id = clip(f"difference-{statement.venue}-{statement.account}-{name}")
        if self._rule.halts and statement.holds == "positions" and halt_id not in self._desk.state.halts:
            self._impose(
                Halt(
                    halt_id=halt_id,
                    scopes=(f"account:{statement.account}",),
                    level=TradingState.HALTED,
                    reason=clip(f"position in {name}: our fills say {ours}, {statement.venue} says {theirs}"),
                    actor=self._name,
                )
            )

    def _close(
        self, known: DifferenceOpened, ours: Decimal, theirs: Decimal, *, actor: str = "", reason: str = ""
    ) -> None:
        fact = DifferenceClosed(
            venue=known.venue,
            account=known.account,
            holds=known.holds,
            name=known.name,
            ours=ours,
            theirs=theirs,
            actor=actor,
            reason=reason,
        )
        self._desk.emit(fact)
        self._tell(known, "CLOSED", ours, theirs, actor, reason)

    def resolve(self, request: ResolveDifference, origin: Origin) -> None:
        """An operator takes the venue's word; one answer in either case."""
        key = difference_name(request.venue, request.account, request.holds, request.name)
        known = self._desk.state.differences.get(key)
        problem = self._operator_problem(origin.user) or reason_problem("resolve", request.reason)
        if not problem and known is None:
            problem = f"no difference in {request.holds} of {clip(request.name)!r} is open there"
        if not problem and known is not None:
            self._close(known, known.ours, known.theirs, actor=clip(request.actor), reason=request.reason)
        done = "the venue's word is what we begin from"
        self._desk.send(resolution(self._name, request.request_id, origin, problem, done))

    def status(self) -> tuple[DifferenceStatus, ...]:
        """What is open, for people."""
        return tuple(
            DifferenceStatus(
                venue=each.venue,
                account=each.account,
                holds=each.holds,
                name=each.name,
                ours=each.ours,
                theirs=each.theirs,
            )
            for each in self._desk.state.differences.values()
        )

    def _tell(
        self, known: DifferenceOpened, change: str, ours: Decimal, theirs: Decimal, actor: str = "", reason: str = ""
    ) -> None:
        event = DifferenceChanged(
            arbiter=self._name,
            venue=known.venue,
            account=known.account,
            holds=known.holds,
            name=known.name,
            ours=ours,
            theirs=theirs,
            change="OPENED" if change == "OPENED" else "CLOSED",
            actor=actor,
            reason=reason,
        )
        self._desk.send(Event(event, f"difference-changed.{change.lower()}"))
