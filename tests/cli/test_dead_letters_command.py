"""`sidecar dead-letters` as its users call it, on a real broker; and what it shows of strangers' bytes."""

import asyncio
import json
from pathlib import Path

import aio_pika
import pytest
from cli_world import PATIENCE_S, Ended, sidecar_command, write_config
from test_commands import call

from sidecar.broker import admin
from sidecar.broker.dead_letters import dead_letter
from sidecar.broker.interface import Delivery
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import ARBITER_QUEUE, COMMANDS, EVENTS, ORDERS
from sidecar.cli.dead_letters_view import BODY_SHOWN_MAX, LetterLine, age, letter_text, printable
from sidecar.cli.errors import ExitCode
from sidecar.messages.codec import encode
from sidecar.messages.control import ResumeRequest
from sidecar.messages.examples import example_of
from sidecar.messages.orders import OrderCommitted

WHY = ("--reason", "mended", "--actor", "dana")


def refused(body: bytes, type_name: str, exchange: str, app_id: str) -> Delivery:
    """What an arbiter refused."""
    return Delivery(
        body=body,
        type=type_name,
        app_id=app_id,
        user_id="mallory",
        message_id="m1",
        correlation_id="",
        reply_to="",
        exchange=exchange,
        routing_key="report.x",
        redelivered=False,
        headers={},
    )


@pytest.fixture
async def config(clean_amqp_url: str, tmp_path: Path) -> Path:
    """A broker with three letters: a fact, a resume, and bytes that are no text."""
    await admin.apply(clean_amqp_url)
    fact, resume = example_of(OrderCommitted), example_of(ResumeRequest)
    broker = RabbitBroker([clean_amqp_url], name="arbiter-1")
    await broker.start()
    for each in (
        refused(encode(fact), "order-committed.v1", ORDERS, fact.component),
        refused(encode(resume), "resume-request.v1", COMMANDS, resume.actor),
        refused(b"\xff\x00\x1b[2J", "order-aborted.v1", ORDERS, "exec-\x1b[31ma"),
    ):
        await broker.publish(dead_letter(each, "wrong-field", "because", app_id="arbiter-1"), PATIENCE_S)
    await broker.close()
    return write_config(tmp_path, clean_amqp_url)


async def listed(config: Path, count: int) -> Ended:
    """The list, once as many are there: what was looked at comes back a moment after its command has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            ended = await sidecar_command("dead-letters", "list", "--json", "-c", config)
            if ended.json["count"] == count:
                return ended


@pytest.mark.broker
async def test_list_and_show(config: Path) -> None:
    """The list has each letter with reason, sender and origin; show adds headers, body and why it may not go back."""
    found = await listed(config, 3)
    assert found.code == ExitCode.OK
    fact, resume, garbage = found.json["letters"]
    assert (fact["type"], fact["exchange"], fact["user_id"]) == ("order-committed.v1", ORDERS, "mallory")
    assert fact["age_s"] < PATIENCE_S
    shown = await sidecar_command("dead-letters", "show", resume["id"], "--json", "-c", config)
    assert "ask it anew" in shown.json["redrive_refusal"]
    assert json.loads(shown.json["body"])["halt_id"] == "halt-1"
    await listed(config, 3)
    raw = await sidecar_command("dead-letters", "show", garbage["id"], "-c", config)
    assert "\\xff\\x00\\x1b[2J" in raw.out
    assert "\x1b" not in raw.out
    await listed(config, 3)
    in_words = await sidecar_command("dead-letters", "list", "--limit", "1", "-c", config)
    assert "3 waiting, 2 more than shown" in in_words.out
    none = await sidecar_command("dead-letters", "show", "no-such", "-c", config)
    assert none.code == ExitCode.NO


@pytest.mark.broker
async def test_redrive_all(config: Path, clean_amqp_url: str) -> None:
    """Of all letters, the fact goes back to its queue; the resume and the garbage stay, each with the reason."""
    await listed(config, 3)
    ended = await sidecar_command("dead-letters", "redrive", "--all", "--yes", *WHY, "--json", "-c", config)
    assert ended.code == ExitCode.NO
    assert len(ended.json["done"]) == 1
    assert sorted(why[:20] for why in ended.json["left"].values()) == ["it is an operator's ", "it would be refused "]
    await listed(config, 2)
    async with (
        asyncio.timeout(PATIENCE_S),
        await aio_pika.connect(clean_amqp_url) as connection,
        connection.channel() as channel,
        (await channel.get_queue(ARBITER_QUEUE)).iterator() as arrivals,
    ):
        message = await anext(arrivals)
        await message.ack()
    assert (message.type, message.headers["redriven-by"]) == ("order-committed.v1", "dana")


@pytest.mark.broker
async def test_discard(config: Path, clean_amqp_url: str) -> None:
    """A discarded letter is gone, and an event says which, by whom and why; the others stay."""
    letter = (await listed(config, 3)).json["letters"][1]
    async with await aio_pika.connect(clean_amqp_url) as connection, connection.channel() as channel:
        watching = await channel.declare_queue(exclusive=True)
        await watching.bind(EVENTS, "dead-letter-discarded.#")
        ended = await sidecar_command("dead-letters", "discard", letter["id"], *WHY, "-c", config)
        event = json.loads((await watching.get(timeout=PATIENCE_S)).body)
    assert (ended.code, ended.out.strip()) == (ExitCode.OK, "1 discarded")
    assert (event["letter_id"], event["actor"], event["reason"]) == (letter["id"], "dana", "mended")
    assert len(event["body_sha256"]) == 64
    left = await listed(config, 2)
    assert letter["id"] not in [each["id"] for each in left.json["letters"]]


@pytest.mark.parametrize("arguments", [(), ("abc", "--all", "--yes"), ("--all",)], ids=["none", "both", "unconfirmed"])
@pytest.mark.parametrize("command", ["redrive", "discard"])
def test_which_must_be_said(command: str, arguments: tuple[str, ...]) -> None:
    """One letter or all of them must be named, and all of them needs --yes."""
    assert call("dead-letters", command, *arguments, *WHY).exit_code == ExitCode.USAGE


def test_a_reason_is_needed() -> None:
    """Nothing is sent back or put away without a reason."""
    assert call("dead-letters", "discard", "abc").exit_code == ExitCode.USAGE


def test_bodies_are_bounded_for_people() -> None:
    """A long body is cut on the screen, and the text says how much is left out."""
    line = LetterLine(
        id="a",
        age_s=None,
        code="c",
        text="t",
        type="t.v1",
        exchange="",
        routing_key="",
        app_id="",
        user_id="",
        body_bytes=BODY_SHOWN_MAX + 7,
        truncated=False,
        redriven_times=0,
        body="x" * (BODY_SHOWN_MAX + 7),
    )
    assert "... 7 bytes more" in letter_text(line).plain


def test_no_control_character_reaches_the_terminal() -> None:
    """Escapes, carriage returns and bidirectional marks are written out."""
    assert printable("a\x1b[2J\r\n\u202eb") == "a\\x1b[2J\\r\\n\\u202eb"


@pytest.mark.parametrize(("seconds", "text"), [(None, "?"), (7, "7s"), (600, "10m"), (8_000, "2h"), (900_000, "10d")])
def test_age(seconds: int | None, text: str) -> None:
    """An age is said in one unit."""
    assert age(seconds) == text
