"""A journal to archive: records as an arbiter writes them, and entries as the stream has them."""

from collections.abc import Iterable
from decimal import Decimal

from sidecar.journal.archive import Archive, Written
from sidecar.journal.archive_ledger import Entry, Row
from sidecar.journal.archive_search import Wanted, reading
from sidecar.journal.archive_tables import open_engine
from sidecar.messages.base import Token
from sidecar.messages.codec import encode
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.journal import (
    AnyFact,
    HaltLifted,
    HaltRaised,
    OrderPrecommitted,
    OrderReported,
    Record,
    SlotGranted,
    TermStarted,
    Ticked,
)
from sidecar.messages.orders import OrderIntent

NOW_NS = 1_800_000_000 * 10**9
SECOND_NS = 10**9
EVERYTHING = Wanted(everything=True, oldest_first=True)


def body(n: int, fact: AnyFact | None = None, *, term: int = 1, author: str = "arbiter-1#a") -> bytes:
    """The n-th record of a term; a tick unless said otherwise. Decided n seconds after NOW_NS."""
    default = TermStarted(reason="a test") if n == 0 else Ticked()
    return encode(Record(term=term, n=n, arbiter=author, at_ns=NOW_NS + n * SECOND_NS, fact=fact or default))


def entries(bodies: Iterable[bytes], first: int = 0) -> list[Entry]:
    """At successive offsets."""
    return [Entry(offset, each) for offset, each in enumerate(bodies, first)]


def ticks(count: int, first: int = 0) -> list[Entry]:
    """A term of so many records, from the n-th on, at the offsets of their own numbers."""
    return entries((body(n) for n in range(first, first + count)), first)


def intent(cl_ord_id: str, component: str = "exec-a") -> OrderIntent:
    """An order of a component."""
    return OrderIntent(
        cl_ord_id=cl_ord_id,
        component=component,
        incarnation=f"{component}-1",
        slot="execution/0",
        token=Token(1, 1),
        account="ACC",
        venue="SIM",
        symbol="XYZ",
        side="BUY",
        qty=Decimal(10),
    )


def a_day() -> list[Entry]:
    """A term in which something of each sort happened, among ticks; offsets equal n."""
    halt = Halt(halt_id="h1", scopes=("component:exec-b",), level=TradingState.HALTED, reason="drill", actor="ann@desk")
    granted = SlotGranted(
        slot="execution/0", component="exec-a", incarnation="exec-a-1", token=Token(1, 1), cause="vacant", actor="bob"
    )
    facts: dict[int, AnyFact] = {
        2: granted,
        4: OrderPrecommitted(intent=intent("o-1")),
        5: OrderReported(cl_ord_id="o-1", order_id="X1", ord_status="NEW"),
        7: HaltRaised(halt=halt),
        9: HaltLifted(halt_id="h1", actor="ann@desk", reason="drill over"),
        11: OrderPrecommitted(intent=intent("o-2", "exec-b")),
    }
    return entries(body(n, facts.get(n)) for n in range(13))


def write(url: str, found: list[Entry], *, expected: int = 0) -> Written:
    """Archive these entries in one batch."""
    archive = Archive(url)
    try:
        archive.open(NOW_NS)
        return archive.append(found, expected, NOW_NS)
    finally:
        archive.close()


def rows(url: str, wanted: Wanted = EVERYTHING) -> list[Row]:
    """What the archive has."""
    with reading(url) as reader:
        return list(reader.find(wanted))


def tamper(url: str, *statements: str) -> None:
    """Change the database as somebody with its password would."""
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            for each in statements:
                connection.exec_driver_sql(each)
    finally:
        engine.dispose()
