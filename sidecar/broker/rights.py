"""Whether the user we connect as may do what its role needs, and no more.

Owns the comparison of RabbitMQ's expressions with the roles of export.py. Pure. It must not ask the broker.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

from sidecar.broker.export import permissions
from sidecar.broker.finding import Finding
from sidecar.broker.management import Survey, Unseen
from sidecar.broker.topology import COMMANDS, EXCHANGES, JOURNAL_STREAM, QUEUES, SNAPSHOT_STREAM

Role = Literal["arbiter", "auditor", "component", "operator", "reconciler"]
RIGHTS: Final = ("configure", "write", "read")
STRANGER: Final = "somebody-elses-queue"
"""A name that none of our roles has any business with."""
GUARDED: Final = (JOURNAL_STREAM, SNAPSHOT_STREAM, COMMANDS)
_MEND: Final = "give it the expressions of its role in topology/permissions.json"
_OWN: Final = ("sidecar.control.x.1", "sidecar.reply.x.1", "sidecar.events.x.1", "sidecar.heartbeats.x.1")
_NAMES: Final = (*(each.name for each in EXCHANGES), *(each.name for each in QUEUES), "amq.default", *_OWN)


def judge_rights(seen: Survey, user: str, role: Role | None) -> list[Finding]:
    """Findings on the user. Unseen rights are no more than information: seeing them takes an administrator."""
    if isinstance(seen.rights, Unseen):
        return [*_tags(seen, user), _unseen(user, seen.rights.why)]
    held = {right: str(seen.rights.get(right, "")) for right in RIGHTS}
    try:
        findings = [*_tags(seen, user), *_too_many(user, held, role), *_too_few(user, held, role)]
    except re.error as error:
        return [_unseen(user, f"its expressions are not read here ({error})")]
    return findings or [Finding(level="ok", subject=f"user {user}", text="may do what it needs")]


def _unseen(user: str, why: str) -> Finding:
    return Finding(
        level="info",
        subject=f"rights of user {user}",
        text=f"cannot see: {why}",
        mend="compare them with topology/permissions.json; only an administrator sees them through the API",
        unseen=True,
    )


def _tags(seen: Survey, user: str) -> Iterator[Finding]:
    if not isinstance(seen.tags, Unseen) and "administrator" in seen.tags:
        yield Finding(
            level="warning",
            subject=f"user {user}",
            text="is an administrator of the broker",
            means="whoever has this password can delete the journal and make users who lift halts",
            mend="connect as a user without that tag; topology/permissions.json lists each role's rights",
        )
    if seen.guest is True and user != "guest":
        yield Finding(
            level="warning",
            subject="user guest",
            text="exists",
            means="its default password is known to everyone",
            mend="delete it: rabbitmqctl delete_user guest",
        )


def _too_many(user: str, held: dict[str, str], role: Role | None) -> Iterator[Finding]:
    beyond = [right for right in RIGHTS if _may(held[right], STRANGER)]
    if beyond:
        yield Finding(
            level="warning",
            subject=f"rights of user {user}",
            text=f"it may {', '.join(beyond)} everything in the virtual host",
            means="a stolen password reaches more than this process",
            mend=_MEND,
        )
        return
    if role is None:
        return
    wanted = permissions()[role]
    more = [
        f"{right} {name}" for right in RIGHTS for name in GUARDED if _may(held[right], name) > _may(wanted[right], name)
    ]
    if more:
        yield Finding(
            level="warning",
            subject=f"rights of user {user}",
            text=f"more than the role {role} needs: {', '.join(more)}",
            means="this process could write into the journal or command others",
            mend=_MEND,
        )


def _too_few(user: str, held: dict[str, str], role: Role | None) -> Iterator[Finding]:
    if role is None:
        return
    wanted = permissions()[role]
    less = [
        f"{right} {name}" for right in RIGHTS for name in _NAMES if _may(held[right], name) < _may(wanted[right], name)
    ]
    if less:
        yield Finding(
            level="critical",
            subject=f"rights of user {user}",
            text=f"less than the role {role} needs: {', '.join(less)}",
            means="what it may not do fails when it is needed",
            mend=_MEND,
        )


def _may(expression: str, name: str) -> bool:
    """RabbitMQ searches, unanchored; an empty expression allows nothing (Access Control documentation)."""
    return bool(expression) and re.search(expression, name) is not None
