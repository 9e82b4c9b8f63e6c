"""The parts of `make bench-orders` that need no broker; nothing here is timed."""

import msgspec
import pytest

from benchmarks.orders.__main__ import parse
from benchmarks.orders.latency import percentile_ms
from benchmarks.orders.memory import Sample, drive, slope
from benchmarks.orders.picture import as_svg
from benchmarks.orders.shapes import RECORD
from sidecar.messages.codec import decode_record
from sidecar.messages.journal import Record


def samples(*rss_bytes: int) -> list[Sample]:
    """One for each hundred orders."""
    return [Sample(orders=100 * at, rss_bytes=each, whole=0, names=0, waiting=0) for at, each in enumerate(rss_bytes)]


def test_every_order_of_the_drive_ends_verified() -> None:
    """Each order that memory is measured with goes through all three phases, and none of them waits at the end."""
    found = list(drive(60, each=20))
    assert [(each.orders, each.whole, each.waiting) for each in found] == [
        (0, 0, 0),
        (20, 20, 0),
        (40, 40, 0),
        (60, 60, 0),
    ]


def test_the_slope_is_what_one_more_order_costs() -> None:
    """Memory that grows by 500 bytes in a hundred orders costs five bytes an order, and one sample says nothing."""
    assert slope(samples(1_000, 1_500, 2_000)) == pytest.approx(5)
    assert slope(samples(1_000)) == 0


def test_a_percentile_is_by_nearest_rank() -> None:
    """The median of four is the second, and the 99th percentile of a few the largest."""
    seconds = [0.004, 0.001, 0.003, 0.002]
    assert percentile_ms(seconds, 50) == pytest.approx(2)
    assert percentile_ms(seconds, 99) == pytest.approx(4)


def test_the_floor_appends_what_the_journal_would() -> None:
    """The bytes of the raw append are those of a record that an arbiter reads."""
    assert isinstance(decode_record(RECORD), Record)
    assert msgspec.json.decode(RECORD)["fact"]["fact"] == "OrderPrecommitted"


def test_the_picture_has_a_point_for_each_sample() -> None:
    """As many points are drawn as were sampled."""
    line = as_svg(samples(1_000, 2_000, 3_000)).partition('<polyline points="')[2].partition('"')[0]
    assert len(line.split()) == 3


def test_what_cannot_be_measured_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown part ends the run, and the sentence names it."""
    with pytest.raises(SystemExit):
        parse(["--parts", "latency,speed"])
    assert "speed" in capsys.readouterr().err
