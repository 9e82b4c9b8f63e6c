"""The distribution of failover times, as text and as a picture.

Owns the bins and both drawings; pure functions of the times. The picture is SVG, written by hand: a bar chart needs no
library. It must not know where the times come from.
"""

from html import escape

BINS_MS = (10, 20, 50, 100, 200, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 6_000, 10_000)
"""Upper bounds; the last bin has none."""
BAR_COLUMNS = 50
WIDTH, ROW, LEFT, RIGHT, TOP = 720, 24, 130, 90, 48


def bins(times_ms: list[float]) -> list[tuple[str, int]]:
    """How many times fall into each bin, as (label, count), without the empty bins at both ends."""
    counts = [0] * (len(BINS_MS) + 1)
    for each in times_ms:
        counts[next((at for at, bound in enumerate(BINS_MS) if each < bound), len(BINS_MS))] += 1
    labels = [*(f"< {bound} ms" for bound in BINS_MS), f">= {BINS_MS[-1]} ms"]
    used = [at for at, each in enumerate(counts) if each]
    return list(zip(labels, counts, strict=True))[used[0] : used[-1] + 1] if used else []


def as_text(times_ms: list[float]) -> list[str]:
    """One line for each bin, the longest bar BAR_COLUMNS wide."""
    found = bins(times_ms)
    most = max((each for _, each in found), default=0)
    return [f"{label:>11}  {each:>7}  {'#' * -(-each * BAR_COLUMNS // most)}".rstrip() for label, each in found]


def as_svg(times_ms: list[float], title: str) -> str:
    """A bar chart, readable on light and dark ground."""
    found = bins(times_ms)
    most = max((each for _, each in found), default=1)
    height = TOP + ROW * len(found) + ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="28" font-size="16">{escape(title)}</text>',
    ]
    for row, (label, each) in enumerate(found):
        top, bar = TOP + ROW * row, (WIDTH - LEFT - RIGHT) * each / most
        lines += [
            f'<text x="{LEFT - 10}" y="{top + 15}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{top + 2}" width="{bar:.1f}" height="{ROW - 6}" fill="#2f6f9f"/>',
            f'<text x="{LEFT + bar + 8:.1f}" y="{top + 15}">{each}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
