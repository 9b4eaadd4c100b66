"""What an order, a body and a customer are called: keyed hashes, which nobody without the key can guess or test."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from orchestrator.problems import KeyInvalid

KEY_LENGTH_MAX: Final = 255
_IDEMPOTENCY_KEY = re.compile(r"[!-~]+")


class Identities:
    """All names are made with one secret, which all orchestrators share and keep across restarts."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def order_id(self, idempotency_key: str | None) -> str:
        """32 hexadecimal digits: always the same for a key, random without. Raises KeyInvalid."""
        if idempotency_key is None:
            return secrets.token_hex(16)
        if len(idempotency_key) > KEY_LENGTH_MAX or not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise KeyInvalid(f"Idempotency-Key should be 1 to {KEY_LENGTH_MAX} printable ASCII characters, no spaces")
        return self._hash("order id", idempotency_key.encode()).hex()[:32]

    def fingerprint(self, body: Mapping[str, Any]) -> bytes:
        """32 bytes that tell a retry from another order under the same key. The CVV is not in it."""
        told = dict(body)
        if isinstance(card := told.get("creditCard"), dict):
            told["creditCard"] = {name: value for name, value in card.items() if name != "cvv"}
        return self._hash("fingerprint", msgspec.json.encode(told, order="sorted"))

    def customer_hash(self, contact: str) -> str:
        """32 hexadecimal digits in place of an address or a number."""
        return self._hash("customer", contact.strip().lower().encode()).hex()[:32]

    def _hash(self, purpose: str, data: bytes) -> bytes:
        return hmac.digest(self._secret, purpose.encode() + b"\0" + data, hashlib.sha256)
