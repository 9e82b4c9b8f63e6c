"""The examination of a broker: everything that AMQP and the management API tell, once or again and again.

Owns what is asked when, and the last findings. It must not decide what follows from them: `sidecar doctor` prints them,
a process shows them in its health and metrics, and with `broker.strict` does not start on a critical one.

Which way it fails: what cannot be looked at is a finding itself. An examination never stops or slows a process.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from yarl import URL

from sidecar.broker.admin import answering_version, check_each
from sidecar.broker.finding import Finding, Level, counts, critical
from sidecar.broker.judging import judge, unseen
from sidecar.broker.management import Survey, management_urls, survey, vhost_of
from sidecar.broker.rights import judge_rights
from sidecar.broker.users import Role

EXAMINE_EVERY_S = 300.0
"""Between examinations of a running process, with up to a third more. Lower loads the broker with connections."""

FIRST_WITHIN_S = 2.0
"""The first examination leaves the start alone, and a thousand that start together do not ask in step."""

LOGGED_AS: Final[dict[Level, int]] = {
    "ok": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "critical": logging.ERROR,
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to examine. `urls` and `management_url` hold passwords and are never printed.

    `role` is what the user of `urls` is for, and `name` and `group` the component's where it has them; None compares
    his rights with no role. `starting` is true for a process that declares what is missing and does not look at dead
    letters.
    """

    urls: Sequence[str] = field(repr=False)
    management_url: str | None = field(default=None, repr=False)
    strict: bool = False
    role: Role | None = None
    name: str = ""
    group: str = ""
    starting: bool = False
    timeout_s: float = 5.0


async def examine(question: Question) -> list[Finding]:
    """Look at everything once. Raises no BrokerError."""
    missing: Level = "info" if question.starting else "critical"
    over_amqp = await check_each(question.urls, missing=missing, letters=not question.starting, strict=question.strict)
    version = await answering_version(question.urls, question.timeout_s)
    if version is None:
        return over_amqp  # Nobody answers: that is critical already, and the rest would say the same.
    user = URL(question.urls[0]).user or "guest"
    seen = await survey(
        management_urls(question.urls, question.management_url),
        vhost=vhost_of(question.urls[0]),
        user=user,
        timeout_s=question.timeout_s,
    )
    rights = judge_rights(seen, user, question.role, question.name, question.group) if isinstance(seen, Survey) else []
    return [*over_amqp, *judge(seen, version, strict=question.strict), *rights]


class Examination:
    """Examines in the background, for the life of a process, and logs each finding that was not there before.

    `findings` is empty until the first examination has ended. Without a question it examines nothing.
    """

    def __init__(self, question: Question | None = None) -> None:
        self.findings: tuple[Finding, ...] = ()
        self._question = question

    @property
    def counts(self) -> dict[str, int]:
        """How many of each level the last examination found; empty before its end."""
        return counts(self.findings) if self.findings else {}

    @property
    def reasons(self) -> tuple[str, ...]:
        """The critical findings of the last examination, a sentence each."""
        return critical(self.findings)

    async def run(self) -> NoReturn:
        """Soon, and then every few minutes, for ever; a defect in here is a finding, never the process's end."""
        await asyncio.sleep(FIRST_WITHIN_S * random.uniform(0.5, 1))
        while True:
            if self._question is not None:
                await self._examine(self._question)
            await asyncio.sleep(EXAMINE_EVERY_S * random.uniform(1, 4 / 3))

    async def _examine(self, question: Question) -> None:
        try:
            found = await examine(question)
        except Exception as error:
            found = [unseen("broker checks", f"they failed ({type(error).__name__}: {error})", strict=question.strict)]
        before = {(each.level, each.subject) for each in self.findings}
        self.findings = tuple(found)
        for each in found:
            if (each.level, each.subject) not in before:
                log.log(LOGGED_AS[each.level], "broker: %s: %s; mend: %s", each.subject, each.text, each.mend or "none")
