"""Who a process is: a SPIFFE ID (SPIFFE-ID, sections 2 and 3) with the service and the node, as in

spiffe://bookstore/order_queue/order_queue_1
"""

import re
from dataclasses import dataclass

TRUST_DOMAIN = "bookstore"
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Identity:
    """`service`: what it is, which says what it may call. `node_id`: which one of them."""

    service: str
    node_id: str

    def __post_init__(self) -> None:
        """Raises ValueError."""
        for name in (self.service, self.node_id):
            if not _SEGMENT.fullmatch(name):
                raise ValueError(f"{name!r} cannot be part of a SPIFFE ID: letters, digits, '.', '-' and '_' can")

    @property
    def uri(self) -> str:
        return f"spiffe://{TRUST_DOMAIN}/{self.service}/{self.node_id}"

    @classmethod
    def from_uri(cls, uri: str) -> "Identity":
        """Raises ValueError for whatever is not of this system."""
        scheme, _, rest = uri.partition("://")
        domain, *path = rest.split("/")
        if scheme != "spiffe" or domain != TRUST_DOMAIN or len(path) != 2:
            raise ValueError(f"{uri!r} is not spiffe://{TRUST_DOMAIN}/<service>/<node>")
        return cls(*path)
