"""Arithmetic of prices and quantities that loses no digit.

Owns the contexts of `decimal` in which sums, products and quotients are made. A sum that is rounded depends on the
order of its parts, and then two arbiters that came to the same facts by other ways would differ. It must not know what
the numbers mean. Those of `sanity.bounded` have digits between 1e-70 and 1e31; a product of two fits twice that.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

ZERO: Final = Decimal(0)
_SUMS: Final = Context(prec=400, rounding=ROUND_HALF_EVEN, Emin=-10_000, Emax=10_000, traps=[])
_QUOTIENTS: Final = Context(prec=40, rounding=ROUND_HALF_EVEN, Emin=-10_000, Emax=10_000, traps=[])


def add(left: Decimal, right: Decimal) -> Decimal:
    """The sum."""
    return _SUMS.add(left, right)


def total(numbers: Iterable[Decimal]) -> Decimal:
    """The sum of all of them."""
    found = ZERO
    for each in numbers:
        found = _SUMS.add(found, each)
    return found


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """The difference."""
    return _SUMS.subtract(left, right)


def multiply(left: Decimal, right: Decimal) -> Decimal:
    """The product."""
    return _SUMS.multiply(left, right)


def divide(left: Decimal, right: Decimal) -> Decimal:
    """The quotient with 40 digits; zero when nothing divides."""
    return _QUOTIENTS.divide(left, right) if right else ZERO


def negated(number: Decimal) -> Decimal:
    """The number with the other sign, every digit kept."""
    return number.copy_negate() if number else ZERO


def plain(number: Decimal) -> str:
    """The number without an exponent and without zeros that say nothing, every digit kept."""
    return f"{_SUMS.normalize(number):f}"
