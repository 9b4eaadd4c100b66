"""Money, always in integer cents of one currency."""

from typing import Final

SHIPPING_CENTS: Final = {"Standard": 0, "Express": 499, "Next-Day": 999}

# The largest amount that one order may come to: far above any basket, far below what a signed 64-bit integer holds.
AMOUNT_CENTS_MAX: Final = 10**12


def format_cents(amount_cents: int) -> str:
    """ "12.34" for 1234."""
    return f"{amount_cents // 100}.{amount_cents % 100:02d}"
