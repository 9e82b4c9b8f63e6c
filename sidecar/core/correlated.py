"""Whether silences belong together. Owns one pure function of when sidecars were last heard; decides nothing."""

from bisect import bisect_left
from collections.abc import Collection, Mapping


def fell_together(
    heard_ns: Mapping[str, int], silent: Collection[str], *, within_ns: int, of_min: int, percent: int
) -> tuple[str, ...]:
    """The sidecars that fell silent together, sorted; empty when silence looks like each one's own.

    `heard_ns` is when each sidecar was last heard, `silent` are those that should have been heard since. Silences whose
    beginnings lie within `within_ns` are one happening if they are more than `percent` of the sidecars that lived when
    it began, and those were at least `of_min`. Of several happenings the largest. O(n log n).
    """
    lived = sorted(heard_ns.values())
    falls = sorted((heard_ns[each], each) for each in silent)
    found, end = (0, 0), 0
    for start, (began_ns, _) in enumerate(falls):
        while end < len(falls) and falls[end][0] <= began_ns + within_ns:
            end += 1
        living = len(lived) - bisect_left(lived, began_ns)
        if living >= of_min and (end - start) * 100 > percent * living and end - start > found[1] - found[0]:
            found = (start, end)
    return tuple(sorted(each for _, each in falls[slice(*found)]))
