"""What the environment says to transaction verification."""

from dataclasses import dataclass

from utils.config import variable


@dataclass(frozen=True)
class Config:
    """One process."""

    node_id: str = variable("NODE_ID", default="transaction_verification")
    bind_host: str = variable("BIND_HOST", default="0.0.0.0")
    port: int = variable("PORT", default=50052, minimum=1, maximum=65_535)
