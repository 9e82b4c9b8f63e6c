"""The topology as files for RabbitMQ and its operators: `topology/` in the repository is this module's output.

Owns the shape of the files; the rights are `users.py`'s. Deterministic: the same code writes the same bytes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sidecar.broker.topology import EXCHANGES, JOURNAL_STREAM, QUEUES, SNAPSHOT_STREAM, queue_arguments
from sidecar.broker.users import ROLES, Rights, User, rights, user_definitions

V4 = (4, 0)
V3 = (3, 10)
VHOST = "/"
RETENTION: dict[str, dict[str, str | int]] = {
    JOURNAL_STREAM: {"max-age": "30D", "stream-max-segment-size-bytes": 100_000_000},
    SNAPSHOT_STREAM: {"max-length-bytes": 2_000_000_000, "stream-max-segment-size-bytes": 50_000_000},
}
"""How long streams are kept, as policies: a policy can be changed later, an argument of a queue never."""


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


def policies(vhost: str = VHOST) -> dict[str, Any]:
    """What RabbitMQ imports to delete what is old. A file of its own, because without it everything is kept."""
    return {
        "policies": [
            {
                "vhost": vhost,
                "name": f"retention of {stream}",
                "pattern": f"^{re.escape(stream)}$",
                "apply-to": "queues",
                "definition": definition,
                "priority": 0,
            }
            for stream, definition in sorted(RETENTION.items())
        ]
    }


def permissions() -> dict[str, Any]:
    """For each role, what its user may do, as RabbitMQ's regular expressions; NAME is its own, GROUP its group."""
    return {role: _plain(rights(role, "NAME", "NAME", "GROUP")) for role in ROLES}


def files() -> Mapping[str, str]:
    """Every generated file of `topology/`, by name."""
    return {
        "definitions.json": _text(definitions(V4)),
        "definitions-3.10.json": _text(definitions(V3)),
        "permissions.json": _text(permissions()),
        "policies.json": _text(policies()),
    }


def users_file(users: Sequence[User], *, vhost: str, passwords: Mapping[str, str]) -> str:
    """The users of one installation, for RabbitMQ to import beside the definitions: hashes, and no password."""
    return _text(user_definitions(users, vhost=vhost, passwords=passwords))


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


def _plain(held: Rights) -> dict[str, Any]:
    topics = {exchange: {"write": write, "read": read} for exchange, (write, read) in held.topics.items()}
    return {
        "what": held.what,
        "configure": held.configure,
        "write": held.write,
        "read": held.read,
        "topics": topics,
    }


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
