"""The operator's one-shot operations on a real broker."""

import aio_pika
import pytest
from broker_sites import unique
from yarl import URL

from sidecar.broker import admin
from sidecar.broker.finding import Finding
from sidecar.broker.interface import BrokerAway
from sidecar.broker.topology import EXCHANGES, QUEUES, QueueSpec
from sidecar.demo.proxy import Proxy

pytestmark = pytest.mark.broker


async def test_apply_says_what_it_did(amqp_url: str) -> None:
    """Applying names every exchange and queue, and a second time all of them are already there."""
    await admin.apply(amqp_url)
    again = await admin.apply(amqp_url)
    assert len(again) == len(EXCHANGES) + len(QUEUES)
    assert all(line.endswith("already there") for line in again)
    assert again[0] == "exchange sidecar.health (topic): already there"


async def test_check_finds_nothing_after_apply(amqp_url: str) -> None:
    """On a broker that has everything, no finding is an error."""
    await admin.apply(amqp_url)
    assert errors(await admin.check(amqp_url, way=False)) == []


async def test_check_names_what_is_missing_and_what_differs(amqp_url: str) -> None:
    """A queue that is missing and one with other arguments are errors with a mend, and checking changes neither."""
    stream = QueueSpec(f"test.{unique()}", "stream")
    try:
        for _ in range(2):
            (missing,) = errors(await admin.check(amqp_url, specs=[stream], way=False))
            assert (missing.subject, missing.text) == (f"queue {stream.name}", "does not exist")
            assert missing.mend
        await replace(amqp_url, stream.name, {"x-queue-type": "quorum"})
        (differs,) = errors(await admin.check(amqp_url, specs=[stream], way=False))
        assert "'quorum'" in differs.text
        assert "'stream'" in differs.text
        await replace(amqp_url, stream.name, None)
        assert await admin.apply(amqp_url, specs=[stream]) == [f"queue {stream.name} (stream): created"]
        assert errors(await admin.check(amqp_url, specs=[stream], way=False)) == []
    finally:
        await replace(amqp_url, stream.name, None)


def errors(findings: list[Finding]) -> list[Finding]:
    """Those that stop a start."""
    return [each for each in findings if each.level == "critical"]


async def replace(url: str, name: str, arguments: dict[str, str] | None) -> None:
    """Delete a queue, and declare it again with these arguments if there are any."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.queue_delete(name)
        if arguments is not None:
            await channel.declare_queue(name, durable=True, arguments={**arguments})


async def test_guest_is_a_warning(amqp_url: str) -> None:
    """The default user with its default password is a warning, and critical beyond this host where that is strict."""
    is_guest = (URL(amqp_url).user, URL(amqp_url).password) == ("guest", "guest")
    local = URL(amqp_url).host in ("127.0.0.1", "localhost")
    for strict, level in ((False, "warning"), (True, "warning" if local else "critical")):
        found = [each for each in await admin.check(amqp_url, strict=strict) if each.subject == "credentials"]
        assert [each.level for each in found] == ([level] if is_guest else [])


async def test_an_absent_broker_is_a_finding(amqp_url: str) -> None:
    """A broker that resets every connection, and one that never answers, are findings with a mend, in bounded time."""
    async with Proxy.before(amqp_url) as proxy:
        url = proxy.url(amqp_url)
        proxy.cut()
        (refused,) = await admin.check(url, timeout_s=0.5)
        proxy.mend()
        proxy.stall()
        (silent,) = await admin.check(url, timeout_s=0.5)
        with pytest.raises(BrokerAway, match="no answer in time"):
            await admin.apply(url, timeout_s=0.5)
    assert (refused.level, silent.level) == ("critical", "critical")
    assert "cannot be reached" in refused.text
    assert "no answer in time" in silent.text
    assert silent.mend


async def test_a_wrong_password_is_a_finding(amqp_url: str) -> None:
    """A refused login is a finding that points to the credentials and does not show the password."""
    (found,) = await admin.check(str(URL(amqp_url).with_password("hush-hush")))
    assert "ACCESS_REFUSED" in found.text
    assert "password" in found.mend
    assert "hush-hush" not in found.text + found.subject
