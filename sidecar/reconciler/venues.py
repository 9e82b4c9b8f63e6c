"""The adapters of the configured venues.

Owns which adapter a venue's settings make, and the reading of its secret. It must not ask a venue.
"""

from collections.abc import Mapping
from pathlib import Path

from sidecar.config.errors import ConfigError
from sidecar.config.venues import ReconcilerSettings, VenueSettings
from sidecar.reconciler.adapter import VenueAdapter
from sidecar.reconciler.crypto import CcxtMissing, CcxtOptions, CcxtVenue
from sidecar.reconciler.simulated import SimulatedVenue
from sidecar.reconciler.statements import CsvStatements


class CannotAsk(ConfigError):
    """A venue cannot be asked as it is configured; the text names it and the mend."""


def adapters(venues: Mapping[str, VenueSettings], settings: ReconcilerSettings) -> dict[str, VenueAdapter]:
    """All of them by the venue's name. Raises CannotAsk."""
    timeout_s = settings.query_timeout_ms / 1000
    found = {name: _adapter(name, each, timeout_s) for name, each in venues.items()}
    for name, each in found.items():
        if venues[name].cancel_after_s and "timer" not in each.offers:
            raise CannotAsk(f"venues.{name}.cancel_after_s: this venue has no cancel-all-after timer; remove it")
    return found


def _adapter(name: str, venue: VenueSettings, timeout_s: float) -> VenueAdapter:
    match venue.adapter:
        case "simulated":
            return SimulatedVenue(venue.address, timeout_s, account=venue.account)
        case "csv":
            return CsvStatements(name, venue.account, Path(venue.directory))
        case "ccxt":
            try:
                return CcxtVenue(_ccxt_options(name, venue, timeout_s))
            except CcxtMissing as error:
                raise CannotAsk(f"venues.{name}: {error}") from error


def _ccxt_options(name: str, venue: VenueSettings, timeout_s: float) -> CcxtOptions:
    return CcxtOptions(
        venue=name,
        account=venue.account,
        exchange=venue.exchange,
        timeout_s=timeout_s,
        requests_per_s=venue.requests_per_s,
        symbols=venue.symbols,
        market=venue.market,
        finds_by_client_id=venue.finds_by_client_id,
        url=venue.url,
        api_key=venue.api_key.get_secret_value() if venue.api_key else "",
        secret=_secret(name, venue),
        password=venue.password.get_secret_value() if venue.password else "",
        options=venue.options,
    )


def _secret(name: str, venue: VenueSettings) -> str:
    if not venue.secret_file:
        return venue.secret.get_secret_value() if venue.secret else ""
    try:
        return Path(venue.secret_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotAsk(f"venues.{name}.secret_file cannot be read: {error}") from error
