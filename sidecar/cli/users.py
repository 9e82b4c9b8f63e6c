"""The broker's users that a configuration asks for, and their passwords from a directory of files.

Owns the way from the settings to `broker/users.py`. It must not know what their rights are.
"""

from collections.abc import Iterable
from pathlib import Path

from sidecar.broker.users import User, conflicts
from sidecar.config.errors import ConfigError
from sidecar.config.models import Settings


def users_of(settings: Settings, also: Iterable[str] = ()) -> list[User]:
    """Everybody who logs in; `also` names components of groups registered at run time, NAME or NAME:GROUP.

    Raises ConfigError where one user would have two roles, or where there is no user for each.
    """
    security = settings.security
    components = {each: name for name, group in settings.groups.items() for each in group.components}
    for each in also:
        name, _, group_name = each.partition(":")
        components.setdefault(name, group_name)
    if "{component}" not in security.component_user or (settings.venues and "{venue}" not in security.venue_user):
        raise ConfigError(
            "security.component_user and security.venue_user must have {component} and {venue} in them: rights are "
            "made for one name each"
        )
    users = [
        *(User(user=each, role="arbiter") for each in security.arbiters),
        *(User(user=each, role="operator") for each in security.operators),
        *(User(user=each, role="auditor") for each in security.auditors),
        *(User(user=each, role="monitor") for each in security.monitors),
        *(User(user=each, role="reconciler") for each in security.reconcilers),
        *(_named(security.component_user, "component", each, group) for each, group in components.items()),
        *(_named(security.venue_user, "venue", each) for each in settings.venues),
    ]
    if found := conflicts(users):
        raise ConfigError(*found)
    if not security.arbiters:
        raise ConfigError("security.arbiters is empty: name the arbiters' broker users, so that they can be made")
    return users


def passwords_in(directory: Path, users: Iterable[User]) -> dict[str, str]:
    """The first line of each file that is named after a user; who has no file has no password."""
    found = {}
    for each in users:
        path = directory / each.user
        try:
            found[each.user] = path.read_text(encoding="utf-8").partition("\n")[0].strip()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"{path}: the password cannot be read ({why}); correct the path or its mode") from None
        if not found[each.user]:
            raise ConfigError(f"{path}: the file is empty; write the password into it, or remove it")
    return found


def _named(pattern: str, role: str, name: str, group: str = "") -> User:
    user = pattern.replace(f"{{{role}}}", name)
    return User(user=user, role="component" if role == "component" else "venue", name=name, group=group)
