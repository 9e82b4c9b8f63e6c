"""What was found that cannot be, as `sidecar integrity list` shows it."""

from io import StringIO

import pytest
from rich.console import Console

from sidecar.cli.integrity import findings_view
from sidecar.messages.integrity import IntegrityFinding, IntegrityReport

FOUND = IntegrityFinding(finding="9f2c41d07a", scope="account:A", text="sums [/differ]", halts=("integrity-3-7",))
DONE = IntegrityFinding(finding="00aa11bb22", scope="all", text="x", resolved=True, actor="dana", reason="booked")


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        ((), ("arbiter-1 has found nothing wrong: looked at everything 12 s ago",)),
        ((FOUND, DONE), ("9f2c41d07a", "account:A", "sums [/differ]", "integrity-3-7", "no", "by dana: booked")),
    ],
)
def test_findings(findings: tuple[IntegrityFinding, ...], words: tuple[str, ...]) -> None:
    """Each finding is shown with its name, scope, what is wrong, its halts, and who resolved it."""
    report = IntegrityReport(
        arbiter="arbiter-1", request_id="q", findings=findings, count=len(findings), looked_ms_ago=12_300
    )
    out = StringIO()
    Console(file=out, width=200, markup=False).print(findings_view(report))
    assert all(each in out.getvalue() for each in words)
