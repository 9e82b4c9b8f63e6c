"""The `high_availability` block that other systems already have, accepted as it is.

Owns the translation of that block into our own sections (FEATURES F13); pure functions on plain tables. The block
may stand beside our own sections, but where both say something different about one thing, that is an error that names
both.

    {"high_availability": {"enabled": true,
                           "failover_groups": {"execution": {"mode": "active_passive", "components": ["a", "b"]}},
                           "health_check_interval_seconds": 5, "auto_failback": false}}

`failover_groups` may also be a list of tables with a `name`. With `enabled` false the block declares nothing.
"""

from typing import Any, Final

from sidecar.config.errors import ConfigError, suggestion

BLOCK: Final = "high_availability"
_FIELDS: Final = ("enabled", "failover_groups", "health_check_interval_seconds", "auto_failback")

Table = dict[str, Any]


def fold_high_availability(raw: Table) -> tuple[Table, dict[tuple[str, ...], str]]:
    """The configuration with the block folded into `groups` and `health`, and where the folded values came from.

    Raises ConfigError for a malformed block, or one that contradicts our own sections.
    """
    if BLOCK not in raw:
        return raw, {}
    rest = {key: value for key, value in raw.items() if key != BLOCK}
    block = _table(raw[BLOCK], BLOCK)
    for name in block:
        if name not in _FIELDS:
            raise ConfigError(f"{BLOCK}.{name}: there is no such field; {suggestion(name, _FIELDS)}")
    if not _flag(block, "enabled", default=True):
        return rest, {}
    groups = _groups(block)
    origins: dict[tuple[str, ...], str] = {("groups", name): f"{BLOCK}.failover_groups.{name}" for name in groups}
    rest["groups"] = _joined(_table(rest.get("groups", {}), "groups"), groups)
    if "health_check_interval_seconds" in block:
        origins["health", "report_interval_ms"] = f"{BLOCK}.health_check_interval_seconds (in ms)"
        rest["health"] = _with_interval(_table(rest.get("health", {}), "health"), block)
    return rest, origins


def _groups(block: Table) -> Table:
    failback = "delayed" if _flag(block, "auto_failback", default=False) else "manual"
    declared = block.get("failover_groups", {})
    place = f"{BLOCK}.failover_groups"
    if isinstance(declared, list):
        declared = _by_name(declared, place)
    groups = {}
    for name, group in _table(declared, place).items():
        table = {"failback": failback, **_table(group, f"{place}.{name}")}
        table.pop("name", None)
        if isinstance(table.get("mode"), str):
            table["mode"] = table["mode"].lower().replace("-", "_")
        groups[name] = table
    return groups


def _by_name(declared: list[Any], place: str) -> Table:
    found: Table = {}
    for index, each in enumerate(declared):
        name = _table(each, f"{place}.{index}").get("name")
        if not isinstance(name, str):
            raise ConfigError(f'{place}.{index}: a group in a list needs a name; add "name": "..."')
        if name in found:
            raise ConfigError(f"{place}.{index}: the name {name!r} stands there twice; rename or remove one")
        found[name] = each
    return found


def _joined(ours: Table, folded: Table) -> Table:
    for name in sorted(ours.keys() & folded.keys()):
        if {"failback": "manual", **_table(ours[name], f"groups.{name}")} != folded[name]:
            raise ConfigError(
                f"groups.{name} and {BLOCK}.failover_groups.{name} declare the same group differently; remove one"
            )
    return {**ours, **folded}


def _with_interval(health: Table, block: Table) -> Table:
    seconds = block["health_check_interval_seconds"]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ConfigError(
            f"{BLOCK}.health_check_interval_seconds: the value {seconds!r:.80} is not a number of seconds"
        )
    interval_ms = round(seconds * 1000)
    if health.get("report_interval_ms", interval_ms) != interval_ms:
        raise ConfigError(
            f"health.report_interval_ms is {health['report_interval_ms']} but {BLOCK}.health_check_interval_seconds is "
            f"{seconds}, that is {interval_ms} ms; remove one"
        )
    return {**health, "report_interval_ms": interval_ms}


def _flag(block: Table, name: str, *, default: bool) -> bool:
    value = block.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{BLOCK}.{name}: the value {value!r:.80} is neither true nor false")
    return value


def _table(value: Any, place: str) -> Table:
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: this must be a table of named fields")
    return value
