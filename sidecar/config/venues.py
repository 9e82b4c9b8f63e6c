"""The venues that the reconciler asks, and what it does about what it finds.

Owns the shape of [venues] and [reconciler] and their cross-checks. It must not open anything, nor read a secret's file.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, Literal, Self

from pydantic import Field, SecretStr, model_validator

from sidecar.config.section import Name, Section
from sidecar.core.reconciliation import ReconcileRule
from sidecar.core.timing import MS

SYMBOLS_MAX: Final = 1_000
_NEEDS: Final = {"simulated": "address", "ccxt": "exchange", "csv": "directory"}


class VenueSettings(Section):
    """One account at one venue; its name is the venue's name in our orders."""

    adapter: Literal["simulated", "ccxt", "csv"] = Field(
        "simulated",
        description="How to talk to it. ccxt needs the extra `trading-sidecar[ccxt]`; csv reads statements as files.",
    )
    address: str = Field("", description="simulated: host:port of the venue's socket.")
    account: str = Field("", description="The account as our orders name it. ccxt, csv and timers need it.")
    exchange: str = Field("", description="ccxt: the exchange's id, for example kraken.")
    market: Literal["spot", "margin", "swap", "future"] = Field(
        "spot", description="ccxt: which of the exchange's markets (its defaultType). A spot account has no positions."
    )
    symbols: tuple[str, ...] = Field(
        (),
        max_length=SYMBOLS_MAX,
        description="ccxt: symbols in its unified form (BTC/USDT), for exchanges that are asked by symbol. Each costs "
        "requests at each check.",
    )
    finds_by_client_id: bool = Field(
        False,
        description="ccxt: this exchange answers a question by clientOrderId with authority, so that a not-found, "
        "twice, proves that the order never arrived. Wrongly set it calls living orders absent.",
    )
    url: str = Field("", description="ccxt: scheme and host in place of the exchange's own, for a proxy or a test.")
    api_key: SecretStr | None = Field(None, description="ccxt: for the variable rather than for this file.")
    secret: SecretStr | None = Field(None, description="ccxt: the key's secret. Never printed.")
    secret_file: str = Field("", description="ccxt: a file that holds the secret. Instead of secret.")
    password: SecretStr | None = Field(None, description="ccxt: the key's passphrase, where the exchange has one.")
    options: dict[str, Any] = Field(
        {}, max_length=64, description="ccxt: the exchange's own options, as its manual says."
    )
    directory: str = Field("", description="csv: the directory of the statements; docs/reconciliation.md names them.")
    requests_per_s: float = Field(5.0, gt=0, le=1_000, description="ccxt: requests per second. Higher loads the venue.")
    quote_currencies: dict[str, str] = Field(
        {},
        max_length=SYMBOLS_MAX,
        description="The currency in which fills of a symbol are paid, by symbol, where the adapter does not know it: "
        "for balances that are held to fills (reconciler.balance_tolerance_percent).",
    )
    check_interval_s: int = Field(
        30,
        ge=0,
        le=86_400,
        description="Between checks of open orders, fills, positions and balances, where the venue offers them; 0 is "
        "never. Lower finds a lost fill sooner and loads the venue.",
    )
    look_back_s: int = Field(
        3_600,
        ge=1,
        le=30 * 86_400,
        description="How far back each check asks for fills. Higher finds later ones, and costs requests.",
    )
    cancel_after_s: int = Field(
        0,
        ge=0,
        le=86_400,
        description="Keep the venue's cancel-all-after timer armed with this time, again at a third of it; 0 is no "
        "timer. Refused where the venue has none. Lower cancels sooner when we are gone, and sooner by mistake in an "
        "outage.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = _NEEDS[self.adapter]
        if not getattr(self, needed):
            raise ValueError(f"{needed}: adapter {self.adapter} needs it")
        if self.adapter != "simulated" and not self.account:
            raise ValueError(f"account: adapter {self.adapter} needs it, as our orders name it")
        if self.cancel_after_s and not self.account:
            raise ValueError("account: cancel_after_s needs it")
        if self.secret is not None and self.secret_file:
            raise ValueError("secret and secret_file are set, and both say what the secret is: remove one")
        return self


class ReconcilerSettings(Section):
    """The reconciliation process."""

    id: Name = Field("reconciler-1", description="Unique among the reconcilers.")
    query_timeout_ms: int = Field(2_000, ge=10, description="Give up one venue query; it then counts as no answer.")
    silent_max_ms: int = Field(
        10_000,
        ge=1_000,
        le=3_600_000,
        description="A reconciler that the arbiters did not hear for so long is reported as down. Higher tells later.",
    )
    behind_max_s: int = Field(
        120,
        ge=1,
        le=86_400,
        description="A venue whose last whole check is older than this is reported as behind. Higher tells later.",
    )
    settle_ms: int = Field(
        5_000,
        ge=100,
        le=600_000,
        description="A difference in a position or balance is told when two checks, so far apart, show the same one. "
        "Higher waits longer for fills that are on their way.",
    )
    balance_tolerance_percent: Decimal | None = Field(
        None,
        ge=0,
        le=100,
        description="Hold balances to what fills have moved, and let them be off by so much of what was turned over, "
        "for fees. Only where the currencies of all symbols that the account trades are known, and cash moves with the "
        "fill. Without it a balance is compared with itself while nothing trades. Lower finds less, and tells of fees.",
    )
    on_break: Literal["tell", "halt"] = Field(
        "tell",
        description="What a difference in a position does: tell only, or halt the account at that venue until an "
        "operator resumes.",
    )

    def to_core(self, venues: Iterable[str]) -> ReconcileRule:
        """What the leader goes by about these venues."""
        return ReconcileRule(
            venues=tuple(sorted(venues)),
            silent_ns=self.silent_max_ms * MS,
            behind_ns=self.behind_max_s * 1_000 * MS,
            settle_ns=self.settle_ms * MS,
            halts=self.on_break == "halt",
            tolerance=self.balance_tolerance_percent,
        )
