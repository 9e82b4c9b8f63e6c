"""`sidecar dead-letters`: look at what was refused, send it back, or put it away for good.

Owns the four commands and what is told afterwards. Which letters may go back is decided in sidecar/core/redriving.py.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sidecar.broker.interface import BrokerAway, Outgoing, PublishFailed
from sidecar.broker.letters import LETTERS_MAX, Letter, LetterBox, letter_box
from sidecar.broker.topology import EVENTS
from sidecar.cli.dead_letters_view import LetterLine, LetterList, letter_text, letters_table, shown
from sidecar.cli.errors import CliError, ExitCode
from sidecar.cli.graph import read_settings
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    TimeoutOption,
    actor_or_default,
    require_reason,
)
from sidecar.cli.output import console, print_json
from sidecar.core.redriving import why_not_redriven
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import encode
from sidecar.messages.dead_letters import DeadLetterDiscarded, DeadLetterRedriven

LIST_DEFAULT = 20

Chosen = Annotated[
    str, typer.Argument(metavar="[ID]", help="As `sidecar dead-letters list` shows it.", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="All that wait now; needs --yes.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it to all of them without being asked.")]


@dataclass(slots=True)
class Outcome:
    """What became of each letter. `left` are refused or failed ones, with the reason; they stay where they are."""

    done: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Everything that was asked for was done."""
        return not self.left and not self.trouble


def list_letters(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=LETTERS_MAX, help="How many, oldest first.")] = (
        LIST_DEFAULT
    ),
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """What waits, oldest first: id, age, reason, type, sender, where it came from. Changes nothing.

    Exit codes: 0; 4 the broker did not answer.
    """

    async def look() -> LetterList:
        async with _box(config, timeout_s) as box:
            return LetterList(count=box.count, letters=tuple(shown(each) for each in box.letters[:limit]))

    found = asyncio.run(look())
    if as_json:
        print_json(found)
    else:
        console().print(letters_table(found))


def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `sidecar dead-letters list` shows it.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """One letter with its headers, its body, and whether it may be sent back. Changes nothing.

    Exit codes: 0; 1 there is no such letter; 4 the broker did not answer.
    """

    async def look() -> LetterLine:
        async with _box(config, timeout_s) as box:
            for each in box.letters:
                if each.letter_id == letter_id:
                    return shown(each, with_body=True, refusal=_refusal(each))
        raise _no_such(letter_id)

    found = asyncio.run(look())
    if as_json:
        print_json(found)
    else:
        console().print(letter_text(found))


def redrive(
    reason: ReasonOption,
    letter_id: Chosen = "",
    all_letters: AllOption = False,
    yes: YesOption = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Send it back to where it came from, once its cause is mended; at least once, so perhaps twice.

    Facts about orders and health only: commands are asked anew, and what was true in its moment is refused.
    Exit codes: 0 sent back; 1 refused, failed or not there; 4 the broker did not answer.
    """
    reason, actor = _checked(letter_id, all_letters, yes, reason), actor_or_default(actor)

    async def send_back(box: LetterBox, letter: Letter) -> str:
        refusal = _refusal(letter)
        if refusal:
            return refusal
        event = DeadLetterRedriven(times=letter.redriven_times + 1, **_told(letter, actor, reason))
        await box.send(_event(event, actor, letter), mandatory=False)
        await box.redrive(letter, actor=actor, reason=reason)
        return ""

    _end(asyncio.run(_each(config, timeout_s, letter_id, send_back)), as_json, "sent back")


def discard(
    reason: ReasonOption,
    letter_id: Chosen = "",
    all_letters: AllOption = False,
    yes: YesOption = False,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """Put it away for good, after telling so on sidecar.events: who, why, and the hash of its body.

    Exit codes: 0 discarded; 1 failed or not there; 4 the broker did not answer.
    """
    reason, actor = _checked(letter_id, all_letters, yes, reason), actor_or_default(actor)

    async def put_away(box: LetterBox, letter: Letter) -> str:
        event = DeadLetterDiscarded(**_told(letter, actor, reason))
        await box.send(_event(event, actor, letter), mandatory=False)
        await box.remove(letter)
        return ""

    _end(asyncio.run(_each(config, timeout_s, letter_id, put_away)), as_json, "discarded")


def build_dead_letters() -> typer.Typer:
    """The group `sidecar dead-letters`."""
    app = typer.Typer(help="Messages that were refused, with the reason.", no_args_is_help=True)
    app.command("list")(list_letters)
    app.command()(show)
    app.command()(redrive)
    app.command()(discard)
    return app


async def _each(
    config: Path | None, timeout_s: float, letter_id: str, do: Callable[[LetterBox, Letter], Awaitable[str]]
) -> Outcome:
    """Do it to one letter, or to all that wait now. It ends at the first that cannot be published: so will the next."""
    outcome = Outcome()
    async with _box(config, timeout_s) as box:
        for letter in box.letters:
            if letter_id and letter.letter_id != letter_id:
                continue
            try:
                refusal = await do(box, letter)
            except PublishFailed as error:
                outcome.trouble = str(error)
                outcome.left[letter.letter_id] = str(error)
                return outcome
            if refusal:
                outcome.left[letter.letter_id] = refusal
            else:
                outcome.done.append(letter.letter_id)
            if letter_id:
                return outcome
        if box.count > LETTERS_MAX:
            outcome.trouble = f"more than {LETTERS_MAX} wait: run it again"
    if letter_id:
        raise _no_such(letter_id)
    return outcome


@asynccontextmanager
async def _box(config: Path | None, timeout_s: float) -> AsyncIterator[LetterBox]:
    """At the first of the configured nodes that answers."""
    *others, last = (each.get_secret_value() for each in read_settings(config).broker.urls)
    for url in others:
        opened = False
        try:
            async with letter_box(url, timeout_s) as box:
                opened = True
                yield box
                return
        except BrokerAway:
            if opened:
                raise
    async with letter_box(last, timeout_s) as box:
        yield box


def _checked(letter_id: str, all_letters: bool, yes: bool, reason: str) -> str:
    if bool(letter_id) is all_letters:
        raise typer.BadParameter("name one letter, or say --all", param_hint="ID")
    if all_letters and not yes:
        raise typer.BadParameter("--all concerns every letter that waits: say --yes too", param_hint="--all")
    return require_reason(reason)


def _refusal(letter: Letter) -> str:
    return why_not_redriven(
        exchange=letter.exchange,
        type_name=letter.type,
        app_id=letter.app_id,
        body=letter.body,
        truncated=letter.truncated,
    )


def _told(letter: Letter, actor: str, reason: str) -> dict[str, str]:
    return {
        "actor": actor,
        "reason": reason,
        "letter_id": letter.letter_id,
        "body_sha256": letter.body_sha256,
        "code": letter.code,
        "original_exchange": letter.exchange,
        "original_routing_key": letter.routing_key,
        "original_type": letter.type,
        "original_app_id": letter.app_id,
    }


def _event(event: Message, actor: str, letter: Letter) -> Outgoing:
    name = message_type(event)
    key = f"{name.partition('.')[0]}.{letter.letter_id}"
    return Outgoing(exchange=EVENTS, routing_key=key, body=encode(event), type=name, app_id=actor)


def _no_such(letter_id: str) -> CliError:
    return CliError(
        f"no dead letter has the id {letter_id!r}: it is gone, another command holds it now, or more than "
        f"{LETTERS_MAX} wait before it",
        ExitCode.NO,
    )


def _end(outcome: Outcome, as_json: bool, done: str) -> None:
    if as_json:
        print_json(outcome)
    else:
        say = partial(console().print, markup=False)
        say(f"{len(outcome.done)} {done}")
        for letter_id, why in outcome.left.items():
            console(stderr=True).print(f"{letter_id} stays: {why}", markup=False, soft_wrap=True)
        if outcome.trouble and outcome.trouble not in outcome.left.values():
            console(stderr=True).print(outcome.trouble, markup=False)
    raise typer.Exit(ExitCode.OK if outcome.ok else ExitCode.NO)
