"""`sidecar orders`, `order`, `breaks` and `limits` on one running system, over a real broker, venue and archive."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from archived import a_day, write
from cli_world import Ended, write_config
from typer.testing import CliRunner

from sidecar.cli import order
from sidecar.cli.errors import ExitCode
from sidecar.cli.main import build_app

WORLD = Path(__file__).with_name("order_world.py")
WHY = ("--reason", "a test")
NOWHERE = "amqp://guest:guest@127.0.0.1:1/"


@dataclass(frozen=True)
class Commands:
    """`sidecar ARGUMENTS`, run to its end in this process. `bare` is for whoever has no archive."""

    config: Path
    bare: "Commands | None" = None

    def __call__(self, *arguments: str) -> Ended:
        """How it ended."""
        ended = CliRunner().invoke(build_app(arguments[0]), [*arguments, "-c", str(self.config)], env=environment())
        return Ended(ended.exit_code, ended.stdout, ended.stderr)


def environment() -> dict[str, str | None]:
    """Our own SIDECAR_* variables, none of which is set for a command."""
    return dict.fromkeys((name for name in os.environ if name.startswith("SIDECAR_")), None)


@pytest.fixture(scope="module")
def run(amqp_url: str) -> Iterator[Commands]:
    """Commands beside one system for all tests of this file, in which every sort of order was traded."""
    paths = os.pathsep.join([str(WORLD.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    world = subprocess.Popen(
        [sys.executable, str(WORLD), amqp_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        line = world.stdout.readline() if world.stdout else b""
        config, bare = json.loads(line or b"[]") or pytest.fail("the system did not start; see stderr")
        yield Commands(Path(config), Commands(Path(bare)))
    finally:
        world.communicate(b"", timeout=60)


def names(found: Any) -> list[str]:
    """ClOrdIDs of a list."""
    return [each["ClOrdID"] for each in found["orders"]]


def test_orders(run: Commands) -> None:
    """Orders are listed by what is asked for, the newest first, as JSON and in words."""
    everything = run("orders", "--json")
    assert everything.code == ExitCode.OK
    assert names(everything.json)[:2] == ["theirs", "open"]
    assert set(names(everything.json)) == {
        *("theirs", "open", "sweep", "resting-2", "resting", "lost", "over", "filled"),
    }
    two = run("orders", "--limit", "2", "--json")
    assert (names(two.json), two.json["more"]) == (["theirs", "open"], True)
    assert names(run("orders", "--unknown", "--json").json) == ["lost"]
    assert names(run("orders", "--open", "--venue", "SIM", "--json").json) == ["open"]
    filled = run("orders", "--status", "filled", "--phase", "verified", "--json")
    assert [(each["ClOrdID"], each["CumQty"], each["strategy"]) for each in filled.json["orders"]] == [
        ("filled", "10", "maker")
    ]
    in_words = run("orders", "--unknown")
    assert "lost" in in_words.out
    assert "an answer of the venue" in in_words.out
    assert "no order" in run("orders", "--account", "NONE").out


def test_denials(run: Commands) -> None:
    """Denials are listed alone, with code and reason; together with another phase they are a wrong command line."""
    denied = run("orders", "--phase", "denied", "--json")
    assert [(each["ClOrdID"], each["code"]) for each in denied.json["orders"]] == [("denied", "LIMIT_QTY")]
    assert "quantity 1001" in run("orders", "--phase", "DENIED").out
    assert (run("orders", "--phase", "denied", "--unknown")).code == ExitCode.USAGE
    assert (run("orders", "--status", "nonsense")).code == ExitCode.USAGE


@pytest.mark.parametrize("source", ["archive", "journal"])
def test_the_story_of_a_chain(run: Commands, source: str) -> None:
    """A replaced order's story has its whole chain and the mass cancel, from the archive and from the journal alike."""
    commands = run if source == "archive" or run.bare is None else run.bare
    ended = commands("order", "resting-2", "--json")
    assert ended.code == ExitCode.OK
    told = ended.json
    assert (told["source"], told["notes"], sorted(told["chain"])) == (source, [], ["resting", "sweep"])
    assert (told["now"]["replaces"], told["now"]["cancelled_by"]) == (["resting"], "sweep")
    assert (told["intent"]["OrigClOrdID"], told["intent"]["component"]) == ("resting", "exec-a")
    happened = {(each["cl_ord_id"], each["what"]) for each in told["story"]}
    for name in ("resting", "resting-2", "sweep"):
        assert {(name, "granted"), (name, "committed"), (name, "evidence")} <= happened
    granted = next(each for each in told["story"] if each["cl_ord_id"] == "resting-2" and each["what"] == "granted")
    assert granted["who"].startswith("exec-a (")
    assert "token 1.1" in granted["text"]
    assert granted["arbiter"].startswith("arbiter-1#")
    assert granted["term"] == told["now"]["granted_term"]
    sources = {each["who"] for each in told["story"] if each["what"] == "evidence"}
    assert sources <= {"SIM (drop copy)", "SIM (asked)"}


def test_an_archive_that_lags(run: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the archive does not have what the leader has, an order in memory is read from the journal."""
    monkeypatch.setattr(order, "CATCHING_UP_S", 0.0)
    url = f"sqlite:///{tmp_path / 'old.db'}"
    write(url, a_day())
    told = run("order", "filled", "--archive", url, "--json").json
    assert (told["source"], told["notes"]) == ("journal", [])
    assert "granted" in {each["what"] for each in told["story"]}
    unread = run("order", "filled", "--archive", url, "--read", "0", "--json").json
    assert (unread["source"], unread["story"], "the archive ends at offset 12" in unread["notes"][0]) == (
        "archive",
        [],
        True,
    )


def test_an_unknown_order(run: Commands) -> None:
    """The story of an UNKNOWN order says who called it so and what it waits for."""
    told = run("order", "lost", "--json").json
    assert (told["now"]["line"]["phase"], told["now"]["line"]["waits"]) == ("UNKNOWN", "query")
    lost = [(each["who"], each["text"]) for each in told["story"] if each["what"] == "UNKNOWN"]
    assert lost == [("exec-a", "no answer within 5 s")]
    shown = run("order", "lost")
    assert "waits for an answer of the venue" in shown.out
    assert "only its word resolves it" in shown.out


def test_an_order_by_the_venues_name(run: Commands) -> None:
    """VENUE/OrderID finds the order that the venue calls so, and an order that nobody knows has an exit code."""
    order_id = run("order", "filled", "--json").json["now"]["line"]["OrderID"]
    found = run("order", f"SIM/{order_id}", "--json")
    assert (found.code, found.json["cl_ord_id"]) == (ExitCode.OK, "filled")
    executed = run("order", "filled")
    assert "TRADE" in executed.out
    nobody = run("order", "nobody")
    assert (nobody.code, "nobody knows an order nobody" in nobody.out) == (ExitCode.NO, True)


def test_breaks_are_listed_and_closed(run: Commands) -> None:
    """An open break has both sides and the command that closes it; once closed, --all and the story say by whom."""
    listed = run("breaks", "--json")
    assert listed.code == ExitCode.NO
    sides = {each["ClOrdID"]: each["breaks"][0] for each in listed.json["breaks"]}
    assert (sides["over"]["kind"], sides["over"]["ours"], sides["over"]["theirs"]) == ("OVERFILL", "10", "15")
    assert sides["theirs"]["kind"] == "EXTERNAL_ORDER"
    in_words = run("breaks")
    assert 'sidecar break resolve over --reason "..."' in in_words.out
    story = run("order", "over")
    assert "sidecar resume break-overfill-over" in story.out
    for name in ("over", "theirs"):
        closed = run("break", "resolve", name, "--actor", "dana", *WHY)
        assert closed.code == ExitCode.OK
    nothing = run("breaks")
    assert (nothing.code, "no break and no difference is open" in nothing.out) == (ExitCode.OK, True)
    told = run("order", "over", "--json").json  # It waits until the archive has what the leader has.
    assert {"BREAK", "halt", "break resolved"} <= {each["what"] for each in told["story"]}
    assert told["now"]["breaks"] == []
    settled = run("breaks", "--all", "--json").json
    assert [(each["what"], each["kinds"], each["actor"], each["reason"]) for each in settled["settled"]] == [
        ("order theirs", ["EXTERNAL_ORDER"], "dana", "a test"),
        ("order over", ["OVERFILL"], "dana", "a test"),
    ]
    over = settled["settled"][1]
    assert (over["ours"], over["theirs"], over["opened_ns"] < over["closed_ns"]) == ("10", "15", True)


def test_limits(run: Commands) -> None:
    """Limits are shown with figures and setters, changed one by one, refused for a reason, and given back."""
    before = {each["scope"]: each for each in run("limits", "--json").json["limits"]}
    assert before["symbol:XYZ"]["source"] == "configuration"
    assert before["symbol:XYZ"]["position_of"]
    dry = run("limits", "set", "symbol:XYZ", "qty_max=7", *WHY, "--dry-run", "--json")
    assert dry.json[0]["code"] == "DRY_RUN"
    changed = run("limits", "set", "symbol:XYZ", "qty_max=7", "degraded.qty_max=1", *WHY, "--actor", "dana")
    assert changed.code == ExitCode.OK
    after = {each["scope"]: each for each in run("limits", "--json").json["limits"]}
    assert after["symbol:XYZ"]["limits"] == {"qty_max": "7", "position_max": "200"}
    assert after["symbol:XYZ"]["degraded"] == {"qty_max": "1"}
    assert (after["symbol:XYZ"]["source"], after["symbol:XYZ"]["reason"]) == ("operator", "a test")
    assert after["symbol:XYZ"]["set_ns"] > before["symbol:XYZ"]["set_ns"] > 0
    shown = run("limits")
    assert "dana" in shown.out
    assert "7 (degraded 1)" in shown.out
    taken = run("limits", "set", "symbol:XYZ", "qty_max=none", *WHY, "--json")
    assert taken.code == ExitCode.OK
    reset = run("limits", "reset", "symbol:XYZ", *WHY)
    assert reset.code == ExitCode.OK
    last = {each["scope"]: each for each in run("limits", "--json").json["limits"]}
    assert last["symbol:XYZ"] == before["symbol:XYZ"] | {"set_ns": last["symbol:XYZ"]["set_ns"]}


def test_limits_that_are_none(run: Commands) -> None:
    """A limit that does not exist, a value that is none and a scope that names nothing are a wrong command line."""
    for words in (("all", "nonsense=1"), ("all", "qty_max"), ("all", "qty_max=x"), ("nowhere:x", "qty_max=1")):
        ended = run("limits", "set", *words, *WHY)
        assert ended.code == ExitCode.USAGE, words
    refused = run("limits", "set", "all", "qty_max=-1", *WHY)
    assert (refused.code, "qty_max" in refused.err) == (ExitCode.NO, True)


def test_positions(run: Commands) -> None:
    """Open positions are listed by the fills of the journal."""
    held = run("limits", "--positions", "--json").json["positions"]
    assert {(each["account"], each["symbol"], each["qty"]) for each in held} >= {
        ("ACC", "XYZ", "10"),
        ("OVER", "XYZ", "15"),
    }
    assert "OVER" in run("limits", "--positions").out


def test_side_effects(run: Commands) -> None:
    """An UNKNOWN side effect is listed with how to settle it, and settled either way by an operator."""
    assert run("once", "--component", "nobody").out.strip() == "no side effect matches"
    listed = run("once", "list", "--unknown", "--json")
    assert (listed.code, listed.json["unknown_count"]) == (ExitCode.NO, 2)
    assert [(each["key"], each["component"]) for each in listed.json["effects"]] == [
        ("happened", "exec-a"),
        ("never", "exec-a"),
    ]
    assert "sidecar once resolve place happened --never" in run("once", "--unknown").out
    settle = ("once", "resolve", "place")
    happened = run(*settle, "happened", "--happened", '{"OrderID": "V-1"}', "--actor", "dana", *WHY)
    never = run(*settle, "never", "--never", *WHY, "--json")
    assert (happened.code, never.code, never.json[0]["code"]) == (ExitCode.OK, ExitCode.OK, "RESOLVED")
    left = run("once", "--json")
    assert left.code == ExitCode.OK
    assert [(each["key"], each["state"], each["result"]) for each in left.json["effects"]] == [
        ("happened", "DONE", '{"OrderID":"V-1"}')
    ]
    assert "dana: a test" in run("once").out
    again = run(*settle, "never", "--never", *WHY)
    assert (again.code, "nothing is known" in again.err) == (ExitCode.NO, True)
    for words in (("--happened", "not json"), ("--happened", "1", "--never"), ()):
        assert (run(*settle, "x", *words, *WHY)).code == ExitCode.USAGE


def test_the_archive_without_an_arbiter(tmp_path: Path) -> None:
    """Without an arbiter the archive still tells the story, and the exit code says that the present is not known."""
    url = f"sqlite:///{tmp_path / 'kept.db'}"
    write(url, a_day())
    run = Commands(write_config(tmp_path, NOWHERE))
    told = run("order", "o-1", "--archive", url, "--timeout", "0.3", "--json")
    assert told.code == ExitCode.UNKNOWN
    assert [each["what"] for each in told.json["story"]] == ["granted", "committed"]
    assert "how it stands now is not known" in told.json["notes"][0]
    assert told.json["now"] is None
    nothing = run("order", "o-1", "--timeout", "0.3")
    assert (nothing.code, "nothing is known of o-1 here" in nothing.out) == (ExitCode.UNKNOWN, True)
