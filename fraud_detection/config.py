"""What the environment says to fraud detection."""

from dataclasses import dataclass

from utils.config import variable


@dataclass(frozen=True)
class Config:
    """One process."""

    node_id: str = variable("NODE_ID", default="fraud_detection")
    bind_host: str = variable("BIND_HOST", default="0.0.0.0")
    port: int = variable("PORT", default=50051, minimum=1, maximum=65_535)
    # Keys the hashes by which customers and cards are counted. Empty: one of this process's own.
    fraud_key: str = variable("FRAUD_KEY", default="", secret=True)
    # The risk score from which an order is rejected. The odd but harmless never comes above 75.
    fraud_reject_score: int = variable("FRAUD_REJECT_SCORE", default=80, minimum=1, maximum=100)
    fraud_copies_max: int = variable("FRAUD_COPIES_MAX", default=100, minimum=2)
    fraud_window_s: float = variable("FRAUD_WINDOW_S", default=60.0, minimum=1, maximum=86_400)
    # Customers and payment's means that are counted at a time; the longest unseen make room.
    fraud_window_keys_max: int = variable("FRAUD_WINDOW_KEYS_MAX", default=20_000, minimum=1)
