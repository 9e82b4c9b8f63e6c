"""Whether the user we connect as may do what its role needs, and no more.

Owns the comparison of a user's rights with those of its role (users.py). Pure. It must not ask the broker.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.broker.finding import Finding
from sidecar.broker.management import Survey, Unseen
from sidecar.broker.topology import (
    COMMANDS,
    EXCHANGES,
    JOURNAL_STREAM,
    QUEUES,
    SNAPSHOT_STREAM,
    STATE,
    control_queue,
    heartbeat_queue,
    issuer_queue,
    reply_queue,
    roundtrip_key,
    state_asking_key,
    state_key,
    state_queue,
    state_to_key,
)
from sidecar.broker.users import TOPICS, Rights, Role, allows, rights

RIGHTS: Final = ("configure", "write", "read")
STRANGER: Final = "somebody-elses-queue"
"""A name that none of our roles has any business with."""
OTHER: Final = "somebody-else"
GUARDED: Final = (
    JOURNAL_STREAM,
    SNAPSHOT_STREAM,
    COMMANDS,
    "amq.default",
    control_queue(OTHER, "1").name,
    reply_queue(OTHER, "1").name,
    issuer_queue(OTHER, "1").name,
)
"""What lets somebody command others, write history or read what is not for him, where his role does not need it."""
_NAMES: Final = (*(each.name for each in EXCHANGES), *(each.name for each in QUEUES), "amq.default")
_MEND: Final = "give it the rights that `sidecar topology export --config` writes for it; see docs/security.md"


def judge_rights(seen: Survey, user: str, role: Role | None, name: str = "", group: str = "") -> list[Finding]:
    """Findings on the user; `name` is the component's or venue's it is for, `group` the component's.

    Unseen rights are no more than information: seeing them takes an administrator.
    """
    if isinstance(seen.rights, Unseen):
        return [*_tags(seen, user), _unseen(user, seen.rights.why)]
    held = {right: str(seen.rights.get(right, "")) for right in RIGHTS}
    try:
        findings = [*_tags(seen, user), *_judge(user, held, _topics(seen), role, name, group)]
    except re.error as error:
        return [_unseen(user, f"its expressions are not read here ({error})")]
    return findings or [Finding(level="ok", subject=f"user {user}", text="may do what it needs")]


def _judge(
    user: str,
    held: Mapping[str, str],
    topics: Mapping[str, tuple[str, str]] | None,
    role: Role | None,
    name: str,
    group: str,
) -> Iterator[Finding]:
    if beyond := [right for right in RIGHTS if allows(held[right], STRANGER)]:
        yield Finding(
            level="warning",
            subject=f"rights of user {user}",
            text=f"it may {', '.join(beyond)} everything in the virtual host",
            means="a stolen password reaches more than this process",
            mend=_MEND,
        )
    if role is None:
        return
    wanted = rights(role, user, name, group)
    more = [
        f"{right} {each}" for right in RIGHTS for each in GUARDED if allows(held[right], each) > wanted.may(right, each)
    ]
    less = [
        f"{right} {each}"
        for right in RIGHTS
        for each in (*_NAMES, *_own(user, name))
        if allows(held[right], each) < wanted.may(right, each)
    ]
    if topics is not None:
        more += _keys(topics, wanted, _strange_keys(group), more=True)
        less += _keys(topics, wanted, _own_keys(user, name, group), more=False)
    if more and not beyond:
        yield _too_many(user, role, more)
    if less:
        yield _too_few(user, role, less)


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


def _too_many(user: str, role: Role, more: list[str]) -> Finding:
    return Finding(
        level="warning",
        subject=f"rights of user {user}",
        text=f"more than the role {role} needs: {', '.join(more)}",
        means="this process could write into the journal, command others or speak in their names",
        mend=_MEND,
    )


def _too_few(user: str, role: Role, less: list[str]) -> Finding:
    return Finding(
        level="critical",
        subject=f"rights of user {user}",
        text=f"less than the role {role} needs: {', '.join(less)}",
        means="what it may not do fails when it is needed",
        mend=_MEND,
    )


def _topics(seen: Survey) -> dict[str, tuple[str, str]] | None:
    """The user's topic permissions; an exchange without one allows every key. None while they cannot be seen."""
    if isinstance(seen.topics, Unseen):
        return None
    held = dict.fromkeys(TOPICS, (".*", ".*"))
    for each in seen.topics:
        held[str(each.get("exchange", ""))] = (str(each.get("write", "")), str(each.get("read", "")))
    return held


def _keys(
    held: Mapping[str, tuple[str, str]], wanted: Rights, keys: list[tuple[str, str]], *, more: bool
) -> Iterator[str]:
    """The routing keys that one side allows and the other does not, where the exchange is open to the user at all."""
    for exchange, key in keys:
        for index, (right, verb) in enumerate((("write", "publish"), ("read", "bind"))):
            has, needs = allows(held[exchange][index], key), allows(wanted.topics[exchange][index], key)
            if wanted.may(right, exchange) and (has > needs if more else has < needs):
                yield f"{verb} {key} on {exchange}"


def _own(user: str, name: str) -> list[str]:
    queues = (
        control_queue(name or user, "1"),
        reply_queue(name or user, "1"),
        reply_queue(f"reconciler-{user}", "1"),
        issuer_queue(user, "1"),
        heartbeat_queue(user, "1"),
        state_queue(name or user, "1", OTHER, (), 1),
    )
    return [each.name for each in queues]


def _own_keys(user: str, name: str, group: str) -> list[tuple[str, str]]:
    words = (
        "heartbeat",
        "released",
        "report",
        "intent",
        "measures",
        "evidence",
        "drop-copy",
        "dead-letter-discarded",
        "resume",
    )
    keys = [
        *(f"{word}.{name or user}" for word in words),
        "halt",
        roundtrip_key(name or user, "1"),
        issuer_queue(user, "1").name,
    ]
    states = [each(group, name or user) for each in (state_key, state_asking_key, state_to_key)] if group else []
    return [*((exchange, key) for exchange in TOPICS for key in keys), *((STATE, key) for key in states)]


def _strange_keys(group: str) -> list[tuple[str, str]]:
    words = ("heartbeat", "released", "intent", "report", "measures", "evidence", "drop-copy", "term-began")
    keys = [*(f"{word}.{OTHER}" for word in words), "resume", "#", "*", issuer_queue(OTHER, "1").name]
    states = [each(OTHER, OTHER) for each in (state_key, state_asking_key, state_to_key)]
    states += [state_asking_key(group, OTHER)] if group else []
    return [*((exchange, key) for exchange in TOPICS for key in keys), *((STATE, key) for key in states)]
