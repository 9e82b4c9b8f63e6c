"""Memory over orders as a picture. Owns the drawing: SVG by hand, because a line needs no library."""

from typing import Final

from benchmarks.orders.memory import SETTLED, Sample

WIDTH: Final = 720
HEIGHT: Final = 320
LEFT: Final = 80
TOP: Final = 48
BOTTOM: Final = 40
STEPS: Final = 4


def as_svg(samples: list[Sample]) -> str:
    """A line of MiB over orders, and where the tables are full; readable on light and dark ground."""
    orders, most = samples[-1].orders or 1, max(each.rss_bytes for each in samples)
    wide, high = WIDTH - LEFT - 24, HEIGHT - TOP - BOTTOM
    points = " ".join(
        f"{LEFT + wide * each.orders / orders:.1f},{TOP + high * (1 - each.rss_bytes / most):.1f}" for each in samples
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        '<text x="16" y="28" font-size="16">A leading arbiter: resident memory over orders</text>',
    ]
    for step in range(STEPS + 1):
        down, right = TOP + high * (1 - step / STEPS), LEFT + wide * step / STEPS
        lines += [
            f'<line x1="{LEFT}" y1="{down}" x2="{LEFT + wide}" y2="{down}" stroke="#dddddd"/>',
            f'<text x="{LEFT - 8}" y="{down + 4}" text-anchor="end">{most * step / STEPS / 2**20:.0f} MiB</text>',
            f'<text x="{right}" y="{HEIGHT - 14}" text-anchor="middle">{orders * step // STEPS:,}</text>',
        ]
    if orders > SETTLED:
        full = LEFT + wide * SETTLED / orders
        lines += [
            f'<line x1="{full:.1f}" y1="{TOP}" x2="{full:.1f}" y2="{TOP + high}" stroke="#b04a2f"/>',
            f'<text x="{full + 6:.1f}" y="{TOP + 14}" fill="#b04a2f">all tables settled</text>',
        ]
    lines.append(f'<polyline points="{points}" fill="none" stroke="#2f6f9f" stroke-width="2"/>')
    return "\n".join([*lines, "</svg>", ""])
