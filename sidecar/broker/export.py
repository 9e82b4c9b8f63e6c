"""The topology as files for RabbitMQ and its operators: `topology/` in the repository is this module's output.

Owns the shape of definitions.json and the roles' rights. Deterministic: the same code writes the same bytes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.broker.topology import (
    COMMANDS,
    CONTROL,
    DEAD_LETTER,
    DEAD_LETTERS_QUEUE,
    EVENTS,
    EXCHANGES,
    HEALTH,
    HEALTH_HISTORY_STREAM,
    JOURNAL_STREAM,
    ORDERS,
    QUEUES,
    RECONCILER_QUEUE,
    SNAPSHOT_STREAM,
    queue_arguments,
)

V4 = (4, 0)
V3 = (3, 10)
VHOST = "/"


def definitions(version: tuple[int, int] = V4, vhost: str = VHOST) -> dict[str, Any]:
    """What RabbitMQ imports (Definitions documentation), for servers of this version.

    Without users: their secrets belong to the operator. RabbitMQ therefore needs its user from elsewhere; see
    topology/README.md.
    """
    queues = sorted(QUEUES, key=lambda each: each.name)
    bindings = sorted((exchange, each.name, key) for each in queues for exchange, key in each.bindings)
    return {
        "vhosts": [{"name": vhost}],
        "exchanges": [
            _durable(each.name, vhost, type=each.type, internal=False, arguments={})
            for each in sorted(EXCHANGES, key=lambda each: each.name)
        ],
        "queues": [_durable(each.name, vhost, arguments=queue_arguments(each, version)) for each in queues],
        "bindings": [
            {
                "source": exchange,
                "vhost": vhost,
                "destination": queue,
                "destination_type": "queue",
                "routing_key": key,
                "arguments": {},
            }
            for exchange, queue, key in bindings
        ],
    }


def permissions() -> dict[str, Any]:
    """For each role, what its user may configure, write and read, as RabbitMQ's regular expressions.

    Writing to the default exchange (answers to reply queues, the journal) is the permission to write `amq.default`.
    """
    exchanges = [each.name for each in EXCHANGES]
    durable = [each.name for each in QUEUES]
    own = ["sidecar.control.", "sidecar.reply.", "sidecar.events.", "sidecar.heartbeats."]
    return {
        "arbiter": _role(
            "grants leases, verifies orders, writes the journal",
            configure=_regex(exchanges + durable, own),
            write=_regex(["amq.default", *exchanges, *durable], own),
            read=_regex([*exchanges, *durable], own),
        ),
        "auditor": _role(
            "reads the journal and the events, changes nothing",
            configure=_regex([], ["sidecar.events."]),
            write=_regex([], ["sidecar.events."]),
            read=_regex([EVENTS, JOURNAL_STREAM, SNAPSHOT_STREAM, HEALTH_HISTORY_STREAM], ["sidecar.events."]),
        ),
        "component": _role(
            "a sidecar: heartbeats, order intents and reports, halts",
            configure=_regex([], ["sidecar.control.", "sidecar.reply.", "sidecar.events."]),
            write=_regex(
                ["amq.default", HEALTH, CONTROL, ORDERS, DEAD_LETTER],
                ["sidecar.control.", "sidecar.reply.", "sidecar.events."],
            ),
            read=_regex([CONTROL, EVENTS], ["sidecar.control.", "sidecar.reply.", "sidecar.events."]),
        ),
        "operator": _role(
            "halts, resumes, fails over, looks, and sends dead letters back or puts them away",
            configure=_regex([], ["sidecar.reply.", "sidecar.events."]),
            write=_regex([CONTROL, COMMANDS, EVENTS, HEALTH, ORDERS], ["sidecar.reply.", "sidecar.events."]),
            read=_regex([EVENTS, DEAD_LETTERS_QUEUE], ["sidecar.reply.", "sidecar.events."]),
        ),
        "reconciler": _role(
            "asks venues and hands their evidence to the arbiter",
            configure=_regex([RECONCILER_QUEUE], ["sidecar.reply.", "sidecar.events."]),
            write=_regex([ORDERS, DEAD_LETTER, RECONCILER_QUEUE], ["sidecar.reply.", "sidecar.events."]),
            read=_regex([ORDERS, EVENTS, RECONCILER_QUEUE], ["sidecar.reply.", "sidecar.events."]),
        ),
    }


def files() -> Mapping[str, str]:
    """Every generated file of `topology/`, by name."""
    return {
        "definitions.json": _text(definitions(V4)),
        "definitions-3.10.json": _text(definitions(V3)),
        "permissions.json": _text(permissions()),
    }


def write(folder: Path) -> list[Path]:
    """Write them all; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in sorted(files().items()):
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _durable(name: str, vhost: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "vhost": vhost, "durable": True, "auto_delete": False, **fields}


def _role(what: str, *, configure: str, write: str, read: str) -> dict[str, str]:
    return {"what": what, "configure": configure, "write": write, "read": read}


def _regex(names: list[str], prefixes: list[str]) -> str:
    """Anchored: these names, and everything that begins with these prefixes; nothing for neither."""
    parts = [_quoted(each) for each in sorted(set(names))] + [_quoted(each) + ".+" for each in sorted(set(prefixes))]
    return f"^({'|'.join(parts)})$" if parts else "^$"


def _quoted(name: str) -> str:
    return name.replace(".", r"\.")


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
