"""The examination of a real broker, and each fault provoked on it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import aio_pika
import pytest
from managed_brokers import Managed, managed_broker
from yarl import URL

from sidecar.broker import admin
from sidecar.broker.examination import Examination, Question, examine
from sidecar.broker.finding import Finding
from sidecar.broker.topology import SNAPSHOT_STREAM
from sidecar.demo.brokers_node import free_port

pytestmark = pytest.mark.broker
PATIENCE_S = 45.0
"""RabbitMQ gathers its statistics every few seconds, and a busy machine gathers slowly."""


@pytest.fixture(scope="module")
def managed(broker_in_container: bool) -> Iterator[Managed]:
    """One for all tests of this module; each leaves it as it was."""
    with managed_broker(broker_in_container) as broker:
        asyncio.run(admin.apply(broker.amqp_url))
        yield broker


@pytest.fixture
def question(managed: Managed) -> Question:
    """As its administrator; the password is not in its representation."""
    return Question(urls=[managed.amqp_url], management_url=managed.management_url)


@pytest.fixture
async def weak(managed: Managed) -> AsyncIterator[str]:
    """The URL of a user that may read only."""
    managed.control("add_user", "weak", "secret")
    managed.control("set_permissions", "weak", "^$", "^$", ".*")
    yield str(URL(managed.amqp_url).with_user("weak").with_password("secret"))
    managed.control("delete_user", "weak")


async def until(question: Question, met: Callable[[Finding], bool]) -> Finding:
    """Examine until there is such a finding."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for each in await examine(question):
                if met(each):
                    return each


async def until_well(question: Question) -> None:
    """Examine until nothing is critical: what was mended is seen when the next statistics come."""
    async with asyncio.timeout(PATIENCE_S):
        while any(each.level == "critical" for each in await examine(question)):
            continue


async def test_a_broker_without_fault(question: Question) -> None:
    """A fresh node with our queues has nothing critical; one node, guest and an administrator are warnings."""
    await until(question, lambda each: each.subject == "journal retention" and each.level == "ok")
    await until(question, lambda each: each.subject == "replicas of sidecar.arbiter")
    found = await examine(question)
    assert [each for each in found if each.level == "critical"] == []
    warned = {each.subject for each in found if each.level == "warning"}
    assert warned - {"encryption"} == {"cluster", "user ops", "user guest", "rights of user ops"}
    assert {each.subject for each in found} >= {"alarms", "encryption", "broker version", "replicas of sidecar.journal"}
    assert all(each.means and each.mend for each in found if each.level == "warning")


async def test_an_alarm(managed: Managed, question: Question) -> None:
    """A memory alarm is critical while it lasts, and then it is gone."""
    managed.control("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        found = await until(question, lambda each: each.subject == "alarms" and each.level != "ok")
    finally:
        managed.control("set_vm_memory_high_watermark", "0.6")
    assert (found.level, "memory on" in found.text) == ("critical", True)
    await until_well(question)


async def test_a_policy_that_deletes_the_journal(managed: Managed, question: Question) -> None:
    """A retention of an hour on the journal is critical."""
    managed.control("set_policy", "short", "^sidecar\\.journal$", '{"max-age":"1h"}', "--apply-to", "queues")
    try:
        found = await until(question, lambda each: each.subject == "journal retention" and each.level != "ok")
    finally:
        managed.control("clear_policy", "short")
        await until_well(question)
    assert (found.level, found.text) == ("critical", "max-age = 1h")


async def test_a_policy_that_drops_orders(managed: Managed, question: Question) -> None:
    """A bound on the arbiters' queue is critical, and names the policy."""
    managed.control("set_policy", "bound", "^sidecar\\.arbiter$", '{"max-length":5}', "--apply-to", "queues")
    try:
        found = await until(question, lambda each: each.subject.startswith("policy"))
    finally:
        managed.control("clear_policy", "bound")
        await until_well(question)
    assert (found.level, found.subject) == ("critical", "policy bound on sidecar.arbiter")


async def test_a_queue_of_another_type(managed: Managed, question: Question, weak: str) -> None:
    """A stream that was made as a quorum queue is critical, also for a user who may not declare it himself."""
    async with await aio_pika.connect(managed.amqp_url) as connection, connection.channel() as channel:
        await channel.queue_delete(SNAPSHOT_STREAM)
        await channel.declare_queue(SNAPSHOT_STREAM, durable=True, arguments={"x-queue-type": "quorum"})
        try:
            subject = f"queue {SNAPSHOT_STREAM}"
            for each in (question, replace(question, urls=[weak])):
                found = await until(each, lambda each: each.subject == subject and each.level == "critical")
                assert "quorum" in found.text
                assert "stream" in found.text
        finally:
            await channel.queue_delete(SNAPSHOT_STREAM)
            await admin.apply(managed.amqp_url)


async def test_a_user_with_too_few_rights(question: Question, weak: str) -> None:
    """A user that lacks what the arbiter's role needs is critical, with each right named, and no password shown."""
    found = await examine(replace(question, urls=[weak], role="arbiter"))
    (few,) = [each for each in found if each.level == "critical"]
    assert few.subject == "rights of user weak"
    assert "write sidecar.journal" in few.text
    assert not any("secret" in f"{each}" for each in found)
    hidden = [each.subject for each in found if "could not be compared" in each.text]
    assert "queue sidecar.journal" in hidden


async def test_a_user_that_may_not_look(managed: Managed, question: Question, weak: str) -> None:
    """A management user without a tag sees nothing, and that is said; strict makes it critical."""
    blind = str(URL(managed.management_url).with_user("weak").with_password("secret"))
    found = await until(replace(question, management_url=blind), lambda each: each.subject == "management API")
    assert (found.level, "monitoring" in found.text) == ("warning", True)
    strict = replace(question, management_url=blind, strict=True)
    assert (await until(strict, lambda each: each.subject == "management API")).level == "critical"


async def test_no_management_api(question: Question) -> None:
    """Where nobody answers for the management API, that is a finding, and what AMQP tells is there all the same."""
    found = await examine(replace(question, management_url=f"http://ops:secret@127.0.0.1:{free_port()}"))
    (away,) = [each for each in found if each.unseen]
    assert (away.level, away.subject) == ("warning", "management API")
    assert {each.subject for each in found} >= {"queue sidecar.journal", "encryption"}


async def test_the_process_sees_it(managed: Managed, question: Question) -> None:
    """In the background, an alarm becomes a reason of the process's health and a count of its level."""
    examination = Examination(replace(question, starting=True))
    assert (examination.reasons, examination.counts) == ((), {})
    managed.control("set_vm_memory_high_watermark", "absolute", "1MB")
    running = asyncio.create_task(examination.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not examination.findings:
                await asyncio.wait((running,), timeout=0.05)
    finally:
        managed.control("set_vm_memory_high_watermark", "0.6")
        running.cancel()
    (reason,) = examination.reasons
    assert "memory on" in reason
    assert examination.counts["critical"] == 1
