"""What each broker user may do: the least that its role needs, as RabbitMQ's regular expressions.

Owns the roles' rights and the definitions of users. It must not know where the names come from, nor ask a broker.

Three things hold a user to its own name, and none is enough alone: the rights here say which exchanges it writes to
and which queues are its own; topic permissions say under which routing keys; receivers compare the verified user with
the name in the message (`core/senders.py`), because a queue that dead-letters can walk a message round a topic
permission (RabbitMQ checks those when a client publishes, not when a queue does).

Writing to the default exchange is the right to write into any queue by its name, the journal's among them: arbiters
have it (`amq.default`), nobody else.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sidecar.broker.topology import (
    ANSWERS,
    ARBITER_QUEUE,
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
    STATE,
)

Role = Literal["arbiter", "auditor", "component", "monitor", "operator", "reconciler", "venue"]
ROLES: Final[tuple[Role, ...]] = ("arbiter", "auditor", "component", "monitor", "operator", "reconciler", "venue")
TOPICS: Final = tuple(each.name for each in EXCHANGES if each.type == "topic")
NOTHING: Final = "^$"
RUN: Final = "[0-9a-f]+"
"""Of the run in a queue's name (uuid4, hexadecimal): it admits no wildcard of a binding and no further name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """One user's rights. `topics` are the routing keys to write and to bind (read), for each topic exchange."""

    what: str
    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING
    topics: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def may(self, right: str, name: str) -> bool:
        """Whether the expression of `right` (configure, write, read) allows this exchange or queue."""
        return allows(getattr(self, right), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A broker user and what it is for. `name` is the component's or the venue's where it has one.

    `group` is the component's: the only one whose states it may read.
    """

    user: str
    role: Role
    name: str = ""
    group: str = ""

    @property
    def rights(self) -> Rights:
        """The least that it needs."""
        return rights(self.role, self.user, self.name, self.group)


def allows(expression: str, name: str) -> bool:
    """RabbitMQ searches, unanchored; an empty expression allows nothing (Access Control documentation)."""
    return bool(expression) and re.search(expression, name) is not None


def rights(role: Role, user: str, name: str = "", group: str = "") -> Rights:
    """What a user of this role needs. Components and venues are told by `name`, everybody else by `user`.

    A component without a `group` neither sends nor reads states.
    """
    match role:
        case "arbiter":
            return _arbiter()
        case "auditor":
            return _auditor(_key(user))
        case "component":
            return _component(_key(name or user), _key(group))
        case "monitor":
            return Rights(
                what="looks at the management API for `sidecar doctor`, sends and reads nothing", topics=_topics({})
            )
        case "operator":
            return _operator(_key(user))
        case "reconciler":
            return _reconciler(_key(user))
        case "venue":
            return Rights(
                what=f"the drop copy of venue {name or user}",
                write=_any(ORDERS),
                topics=_topics({ORDERS: (_any(f"drop-copy.{name or user}"), NOTHING)}),
            )


def user_definitions(
    users: Sequence[User], *, vhost: str = "/", passwords: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Users, permissions and topic permissions as RabbitMQ imports them (Definitions documentation).

    A user without a password in `passwords` has none, and can log in with a certificate only until it is given one.
    """
    known = passwords or {}
    ordered = sorted(users, key=lambda each: each.user)
    return {
        "vhosts": [{"name": vhost}],
        "users": [_user(each, known.get(each.user)) for each in ordered],
        "permissions": [_permission(each, vhost) for each in ordered],
        "topic_permissions": [row for each in ordered for row in _topic_permissions(each, vhost)],
    }


def conflicts(users: Sequence[User]) -> list[str]:
    """Users with two roles, each in a sentence: whoever had both could do what neither may."""
    found: dict[str, User] = {}
    problems = []
    for each in users:
        before = found.setdefault(each.user, each)
        if (before.role, before.name) != (each.role, each.name):
            problems.append(f"user {each.user!r} is {_said(before)} and {_said(each)}: give each a user of its own")
    return problems


def password_hash(password: str, salt: bytes | None = None) -> str:
    """Salted SHA-256 in base64 (RabbitMQ, Credentials and Passwords)."""
    salted = salt or secrets.token_bytes(4)
    return base64.b64encode(salted + hashlib.sha256(salted + password.encode()).digest()).decode()


def _arbiter() -> Rights:
    exchanges = [each.name for each in EXCHANGES]
    queues = [each.name for each in QUEUES]
    own = f"sidecar\\.heartbeats\\..+\\.{RUN}"
    return Rights(
        what="grants leases, verifies orders, writes the journal",
        configure=_any(*exchanges, *queues, also=(own,)),
        write=_any("amq.default", CONTROL, EVENTS, HEALTH, DEAD_LETTER, *queues, also=(own,)),
        # Who declares a queue that dead-letters must be allowed to read it, hence the reconcilers'.
        read=_any(*exchanges, ARBITER_QUEUE, RECONCILER_QUEUE, JOURNAL_STREAM, SNAPSHOT_STREAM, also=(own,)),
        topics=_topics(
            {
                HEALTH: ("^heartbeat\\.", "^(heartbeat|released|report)\\."),
                EVENTS: (".*", ".*"),
                ORDERS: (NOTHING, ".*"),
                COMMANDS: (NOTHING, ".*"),
            }
        ),
    )


def _auditor(user: str) -> Rights:
    own = f"sidecar\\.events\\.{user}\\.{RUN}"
    return Rights(
        what="reads the journal and the events, changes nothing",
        configure=_any(also=(own,)),
        write=_any(also=(own,)),
        read=_any(EVENTS, JOURNAL_STREAM, SNAPSHOT_STREAM, HEALTH_HISTORY_STREAM, also=(own,)),
        topics=_topics({EVENTS: (NOTHING, ".*")}),
    )


def _component(name: str, group: str) -> Rights:
    own = f"sidecar\\.(control|reply|state)\\.{name}\\.{RUN}"
    roundtrip = f"^roundtrip\\.{name}\\.{RUN}$"
    return Rights(
        what="a sidecar: heartbeats, order intents and reports, halts and states, of its own component only",
        configure=_any(also=(own,)),
        write=_any(HEALTH, CONTROL, COMMANDS, ORDERS, ANSWERS, STATE, DEAD_LETTER, also=(own,)),
        read=_any(CONTROL, HEALTH, STATE, also=(own,)),
        topics=_topics(
            {
                HEALTH: (f"^((heartbeat|released|report)\\.{name}|roundtrip\\.{name}\\.{RUN})$", roundtrip),
                ORDERS: (f"^(intent|report|measures)\\.{name}$", NOTHING),
                COMMANDS: ("^halt$", NOTHING),
                ANSWERS: ("^sidecar\\.reply\\.operator-", NOTHING),
                STATE: _states(name, group),
            }
        ),
    )


def _states(name: str, group: str) -> tuple[str, str]:
    """To send as itself, and to hear its own group only. Who may answer whom the receivers judge."""
    if not group:
        return NOTHING, NOTHING
    anybody = "([A-Za-z0-9_-]+|\\*)"
    return (
        f"^((state|wanted)\\.{group}\\.{name}|to\\.{group}\\.[A-Za-z0-9_-]+)$",
        f"^((state|wanted)\\.{group}\\.{anybody}|to\\.{group}\\.{name})$",
    )


def _operator(user: str) -> Rights:
    reply = f"sidecar\\.reply\\.operator-{user}\\.{RUN}"
    own = (reply, f"sidecar\\.events\\.{user}\\.{RUN}")
    return Rights(
        what="halts, resumes, fails over, looks, and sends dead letters back or puts them away",
        configure=_any(also=own),
        write=_any(CONTROL, COMMANDS, EVENTS, HEALTH, ORDERS, DEAD_LETTER, also=own),
        read=_any(EVENTS, ANSWERS, DEAD_LETTERS_QUEUE, JOURNAL_STREAM, also=own),  # For an order's whole story.
        topics=_topics(
            {
                COMMANDS: (".*", NOTHING),
                EVENTS: ("^dead-letter-(discarded|redriven)\\.", ".*"),
                HEALTH: ("^report\\.", NOTHING),
                ORDERS: ("^(report|measures|evidence|drop-copy)\\.", NOTHING),
                ANSWERS: (NOTHING, f"^{reply}$"),
            }
        ),
    )


def _reconciler(user: str) -> Rights:
    own = f"sidecar\\.reply\\.reconciler-{user}\\.{RUN}"
    roundtrip = f"roundtrip\\.{user}\\.{RUN}"
    return Rights(
        what="asks venues and hands their evidence to the arbiter",
        configure=_any(also=(own,)),
        write=_any(ORDERS, DEAD_LETTER, also=(own,)),
        read=_any(ORDERS, RECONCILER_QUEUE, also=(own,)),
        topics=_topics({ORDERS: (f"^(evidence\\..+|{roundtrip})$", f"^{roundtrip}$")}),
    )


def _topics(given: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Every topic exchange: where RabbitMQ finds no topic permission it allows every key."""
    return {exchange: given.get(exchange, (NOTHING, NOTHING)) for exchange in sorted(TOPICS)}


def _any(*names: str, also: tuple[str, ...] = ()) -> str:
    """Anchored: these names and these expressions, and nothing else."""
    parts = [*map(_key, sorted(set(names))), *also]
    return f"^({'|'.join(parts)})$" if parts else NOTHING


def _key(name: str) -> str:
    """A name as an expression that matches it alone."""
    return re.sub(r"([^A-Za-z0-9_-])", r"\\\1", name)


def _said(user: User) -> str:
    return f"{user.role} {user.name}".strip()


def _user(user: User, password: str | None) -> dict[str, Any]:
    return {
        "name": user.user,
        "password_hash": "" if password is None else password_hash(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["monitoring"] if user.role == "monitor" else [],
    }


def _permission(user: User, vhost: str) -> dict[str, str]:
    held = user.rights
    return {
        "user": user.user,
        "vhost": vhost,
        "configure": held.configure,
        "write": held.write,
        "read": held.read,
    }


def _topic_permissions(user: User, vhost: str) -> Iterator[dict[str, str]]:
    for exchange, (write, read) in user.rights.topics.items():
        yield {"user": user.user, "vhost": vhost, "exchange": exchange, "write": write, "read": read}
