"""Tables with a bound. Owns how the oldest entries of a table in order of insertion are dropped."""

from itertools import islice
from typing import Any

BATCHES = 8


def drop_oldest(table: dict[str, Any], most: int) -> list[str]:
    """Keep `table` within `most` entries; returns the keys that went, oldest first.

    An eighth goes at once: finding a dict's oldest key walks over all that were deleted before it, and an OrderedDict,
    which need not, takes forty times as long to copy.
    """
    if len(table) <= most:
        return []
    oldest = list(islice(table, max(len(table) - most, most // BATCHES)))
    for each in oldest:
        del table[each]
    return oldest
