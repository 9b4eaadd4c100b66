"""Keyed hashes of customers, cards and accounts: enough to count them, useless to anybody without the key."""

import hashlib


class Fingerprints:
    """By one secret, as long as the process that has it keeps counting."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.blake2b(secret.encode(errors="surrogateescape"), digest_size=32).digest()

    def of(self, kind: str, value: str) -> bytes:
        """16 bytes; spaces and capitals make no difference."""
        canonical = "".join(value.split()).casefold()
        return hashlib.blake2b(f"{kind}:{canonical}".encode(), key=self._key, digest_size=16).digest()
