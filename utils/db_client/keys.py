"""How the keys of the database cluster are named."""

STOCK_PREFIX = "stock:"
PRICE_PREFIX = "price:"


def stock_key(title: str) -> str:
    """Holds the copies of a book, reserved ones included."""
    return STOCK_PREFIX + title


def price_key(title: str) -> str:
    """Holds the price of a book in cents."""
    return PRICE_PREFIX + title
