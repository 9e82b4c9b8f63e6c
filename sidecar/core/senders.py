"""Who may speak for whom: the broker's users, held to the names that messages claim.

Owns that one rule. It must not know how a message came, nor what it changes. The broker verifies `user_id`; this says
what each user may say:

| the message speaks for     | accepted from the user                                               |
|----------------------------|----------------------------------------------------------------------|
| a component                | of `component_user`, with the component's name in it                 |
| a venue                    | of `venue_user`, with the venue's name in it                         |
| an arbiter                 | in `arbiters`; while that is empty, our own                          |
| a reconciler               | in `reconcilers`; while that is empty, our own                       |
| a person                   | any: whoever may stop is anybody, and operators are asked for where  |
|                            | something is lowered or moved                                        |

Our own user may speak for components and venues too: on a broker with one user for all, nobody can be told apart. So
may an operator who sends a dead letter back.

Which way it fails: an unknown kind of sender is refused.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from sidecar.core.sanity import TEXT_MAX, clip
from sidecar.messages.arbiters import CompareRequest
from sidecar.messages.base import Message
from sidecar.messages.control import Halt, StatusRequest
from sidecar.messages.explain import ExplainRequest, HistoryRequest
from sidecar.messages.integrity import IntegrityQuery
from sidecar.messages.limits import LimitsQuery
from sidecar.messages.once_queries import OnceQuery
from sidecar.messages.order_queries import BreaksQuery, OrderQuery, OrdersQuery

ANYBODYS: Final = (
    Halt,
    StatusRequest,
    ExplainRequest,
    HistoryRequest,
    CompareRequest,
    LimitsQuery,
    OrdersQuery,
    OrderQuery,
    BreaksQuery,
    OnceQuery,
    IntegrityQuery,
)
"""What people may send without being operators: they stop, or only ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """The users of one installation, as every process is configured with them."""

    operators: frozenset[str] = frozenset()
    arbiters: frozenset[str] = frozenset()
    reconcilers: frozenset[str] = frozenset()
    component_user: str = "{component}"
    venue_user: str = "{venue}"

    def problem(self, message: Message, *, user: str, own: str, redriven: bool = False) -> str:
        """Why `user` may not send this; empty when he may. `own` is the user of whoever asks."""
        if redriven and user in self.operators:
            return ""
        match message.SENDER:
            case "actor":
                return ""
            case "component":
                return _named(message, user, own, self.component_user)
            case "venue":
                return _named(message, user, own, self.venue_user)
            case "arbiter":
                return _listed(message, user, self.arbiters or {own})
            case "reconciler":
                return _listed(message, user, self.reconcilers or {own})
        return f"nobody may send {type(message).__name__}"

    def oversteps(self, message: Message, user: str) -> bool:
        """Whether this is a request for operators, of somebody who is none. It is answered, and refused by the core."""
        return message.SENDER == "actor" and not isinstance(message, ANYBODYS) and user not in self.operators


def attributed(message: Message, *, user: str, own: str) -> Message:
    """The message with the verified user beside the name that a person gives himself."""
    if message.SENDER != "actor" or user == own or getattr(message, "actor", user) == user:
        return message
    beside = f" (user {clip(user)})"
    actor: str = getattr(message, "actor", "")
    if actor.endswith(beside):
        return message
    return msgspec.structs.replace(message, actor=actor[: max(0, TEXT_MAX - len(beside))] + beside)


def _named(message: Message, user: str, own: str, pattern: str) -> str:
    name = str(getattr(message, message.SENDER))
    wanted = pattern.replace(f"{{{message.SENDER}}}", name)
    if user in (wanted, own):
        return ""
    return f"user {clip(user)!r} speaks for {message.SENDER} {clip(name)!r}, whose user is {clip(wanted)!r}"


def _listed(message: Message, user: str, users: frozenset[str] | set[str]) -> str:
    if user in users:
        return ""
    return f"user {clip(user)!r} speaks for {message.SENDER}s and is not in security.{message.SENDER}s"
