"""The status report as a person sees it."""

from io import StringIO

import msgspec
from rich.console import Console

from sidecar.cli.status_view import status_view
from sidecar.messages.events import StatusReport
from sidecar.messages.examples import example_of


def shown(report: StatusReport) -> str:
    """The view as plain text."""
    out = StringIO()
    Console(file=out, width=200).print(status_view(report))
    return out.getvalue()


def test_doubts_about_silence_are_shown() -> None:
    """Who is suspected, who was never heard and why silence is not judged stand in the view; else none of it does."""
    report: StatusReport = example_of(StatusReport)
    doubtful = msgspec.structs.replace(report, missing=("exec-c", "exec-d"), silence_unjudged="the journal stalled")
    assert "120 ms ago, suspected" in shown(doubtful)
    assert "never heard: exec-c, exec-d" in shown(doubtful)
    assert "silent holders keep their slots for now: the journal stalled" in shown(doubtful)
    calm = tuple(msgspec.structs.replace(each, suspected=False) for each in report.sidecars)
    quiet = shown(msgspec.structs.replace(report, missing=(), silence_unjudged="", sidecars=calm))
    assert not any(each in quiet for each in ("suspected", "never heard", "keep their slots"))
