"""Order ids of which nothing else is kept: the queue's of orders that only PostgreSQL remembers, and the like."""

from array import array
from bisect import bisect_left

# The first 16 of an id's hexadecimal digits: eight bytes. Ids are keyed hashes or random, so two orders share them
# once in 2**64.
_DIGITS = 16
# Many small sorted arrays, because an insertion moves half of one.
_BUCKET_DIGITS = 3


class OrderIds:
    """A set of eight bytes for each order. Deterministic and pure."""

    def __init__(self, dump: bytes = b"") -> None:
        """`dump`: what `dump()` returned. Raises ValueError for anything but whole ids."""
        # Made when they are needed: a set of few is made in no time.
        self._buckets: dict[int, array[int]] = {}
        self._count = 0
        ids = array("Q")
        ids.frombytes(dump)
        for number in ids:
            self._bucket(number).append(number)
        self._count = len(ids)

    def add(self, order_id: str) -> None:
        number = int(order_id[:_DIGITS], 16)
        bucket = self._bucket(number)
        at = bisect_left(bucket, number)
        if at == len(bucket) or bucket[at] != number:
            bucket.insert(at, number)
            self._count += 1

    def discard(self, order_id: str) -> None:
        number = int(order_id[:_DIGITS], 16)
        if order_id in self:
            bucket = self._bucket(number)
            del bucket[bisect_left(bucket, number)]
            self._count -= 1

    def dump(self) -> bytes:
        """In ascending order; equal sets give equal bytes (on machines of one byte order)."""
        return b"".join(self._buckets[first_digits].tobytes() for first_digits in sorted(self._buckets))

    def __contains__(self, order_id: str) -> bool:
        number = int(order_id[:_DIGITS], 16)
        bucket = self._buckets.get(_first_digits(number), ())
        at = bisect_left(bucket, number)
        return at < len(bucket) and bucket[at] == number

    def __len__(self) -> int:
        return self._count

    def _bucket(self, number: int) -> "array[int]":
        return self._buckets.setdefault(_first_digits(number), array("Q"))


def _first_digits(number: int) -> int:
    return number >> 4 * (_DIGITS - _BUCKET_DIGITS)
