"""What RabbitMQ's management API says of a broker: nodes, queues, policies, alarms, and the rights of a user.

Owns the questions and their bounds. It must not judge the answers, and asks for nothing that changes anything. What
cannot be had is `Unseen` with the reason, never an empty answer. Source: the HTTP API documentation of RabbitMQ 3.10
and 4.0; statistics (memory, policies of a queue) come up to ten seconds after a node or a queue began, so any of them
may be absent.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx
from yarl import URL

from sidecar.broker.topology import QUEUES

PORT: Final = 15672
PORT_TLS: Final = 15671
CERTIFICATES: Final = ("cafile", "certfile", "keyfile")
"""The parameters of an AMQP URL that name PEM files; they serve the API at the same host too."""
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""More is not read. Higher admits clusters of more nodes; one node takes about 10 KB."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unseen:
    """It could not be looked at, for this reason."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All answers of one look. `queues` has those of ours that exist; `alarms` one sentence for each in force.

    `rights` are configure, write and read of the user we connect as, `topics` his topic permissions; `tags` are his.
    """

    nodes: Sequence[Json] | Unseen
    queues: Mapping[str, Json] | Unseen
    alarms: Sequence[str] | Unseen
    rights: Json | Unseen
    topics: Sequence[Json] | Unseen = ()
    tags: Sequence[str] | Unseen
    guest: bool | Unseen


def management_urls(amqp_urls: Sequence[str], given: str | None) -> list[str]:
    """The one that is configured, else the usual port at each node of the cluster, with the same user."""
    if given:
        return [given]
    urls = [URL(each) for each in amqp_urls]
    return [
        str(
            URL.build(
                scheme="https" if each.scheme == "amqps" else "http",
                user=each.user or "guest",
                password=each.password or "guest",
                host=each.host or "127.0.0.1",
                port=PORT_TLS if each.scheme == "amqps" else PORT,
                query={name: each.query[name] for name in CERTIFICATES if name in each.query},
            )
        )
        for each in urls
    ]


def vhost_of(amqp_url: str) -> str:
    """The virtual host of an AMQP URL."""
    return URL(amqp_url).path.removeprefix("/") or "/"


async def survey(urls: Sequence[str], *, vhost: str, user: str, timeout_s: float) -> Survey | Unseen:
    """Ask the first of these that answers at all; Unseen when none does. Raises nothing."""
    whys = []
    for url in urls:
        parsed = URL(url)
        where = f"{parsed.host}:{parsed.port}"
        auth = (parsed.user or "guest", parsed.password or "guest")
        base = str(parsed.with_user(None).with_path("/api/"))
        try:
            verify = _trust(parsed)
            async with httpx.AsyncClient(
                base_url=base, auth=auth, timeout=timeout_s, trust_env=False, verify=verify
            ) as client:
                asker = _Asker(client)
                told = await asker.ask("whoami")
                if isinstance(told, Unseen):
                    whys.append(f"{where} {told.why}")
                    continue
                return await _survey(asker, told, vhost, user, auth[0])
        except (httpx.InvalidURL, ValueError, OSError) as error:
            whys.append(f"{where} {error}")
    return Unseen("; ".join(whys)[:400])


def _trust(url: URL) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=url.query.get("cafile"))
    if certificate := url.query.get("certfile"):
        context.load_cert_chain(certificate, url.query.get("keyfile"))
    return context


class _Asker:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, path: str, *, also: tuple[int, ...] = ()) -> Any:
        """The JSON of an answer with status 200 or one of `also`; else Unseen. None for 404 where that is expected."""
        try:
            async with self._client.stream("GET", path) as response:
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        return Unseen(f"answers more than {ANSWER_BYTES_MAX} bytes")
        except httpx.HTTPError as error:
            return Unseen(f"does not answer ({type(error).__name__})")
        if response.status_code in (401, 403):
            return Unseen("refuses the user: it needs the tag monitoring, or management for its own queues")
        if response.status_code != 200 and response.status_code not in also:
            return Unseen(f"answers {response.status_code}")
        return None if response.status_code == 404 else _json(bytes(body))


def _json(body: bytes) -> Any:
    try:
        return httpx.Response(200, content=body).json()
    except ValueError:
        return Unseen("answers something that is not JSON")


async def _survey(asker: _Asker, told: Any, vhost: str, user: str, asked_as: str) -> Survey:
    place = quote(vhost, safe="")
    who = told if asked_as == user else await asker.ask(f"users/{quote(user, safe='')}")
    guest = await asker.ask("users/guest", also=(404,))
    return Survey(
        nodes=_rows(await asker.ask("nodes")),
        queues=await _queues(asker, place),
        alarms=_alarms(await asker.ask("health/checks/alarms", also=(503,))),
        rights=_table(await asker.ask(f"permissions/{place}/{quote(user, safe='')}", also=(404,))),
        topics=_topics(await asker.ask(f"topic-permissions/{place}/{quote(user, safe='')}", also=(404,))),
        tags=_tags(who),
        guest=guest if isinstance(guest, Unseen) else guest is not None,
    )


async def _queues(asker: _Asker, place: str) -> Mapping[str, Json] | Unseen:
    found: dict[str, Json] = {}
    for spec in QUEUES:
        answer = await asker.ask(f"queues/{place}/{quote(spec.name, safe='')}", also=(404,))
        if isinstance(answer, Unseen):
            return answer
        if isinstance(answer, dict):
            found[spec.name] = answer
    return found


def _rows(answer: Any) -> Sequence[Json] | Unseen:
    if isinstance(answer, Unseen):
        return answer
    rows = [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []
    return rows or Unseen("names no node")


def _table(answer: Any) -> Json | Unseen:
    """A user without any permission on the virtual host is a 404, and may do nothing."""
    if isinstance(answer, Unseen):
        return answer
    return answer if isinstance(answer, dict) else {}


def _topics(answer: Any) -> Sequence[Json] | Unseen:
    """A user without any topic permission is a 404 or an empty list, and may use every routing key."""
    if isinstance(answer, Unseen):
        return answer
    rows = answer if isinstance(answer, list) else [answer]
    return [each for each in rows if isinstance(each, dict)]


def _tags(answer: Any) -> Sequence[str] | Unseen:
    if not isinstance(answer, dict):
        return answer if isinstance(answer, Unseen) else Unseen("does not say who we are")
    tags = answer.get("tags", [])
    return tags.split(",") if isinstance(tags, str) else [str(each) for each in tags]


def _alarms(answer: Any) -> Sequence[str] | Unseen:
    if isinstance(answer, Unseen) or not isinstance(answer, dict):
        return answer if isinstance(answer, Unseen) else Unseen("does not say whether there are alarms")
    if answer.get("status") == "ok":
        return []
    alarms = [each for each in answer.get("alarms", []) if isinstance(each, dict)]
    return [f"{each.get('resource', '?')} on {each.get('node', '?')}" for each in alarms] or [
        str(answer.get("reason", "an alarm"))
    ]
