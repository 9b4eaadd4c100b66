"""What the environment says to fraud detection."""

import re
from dataclasses import dataclass

from utils.config import ConfigError, variable
from utils.generative_ai.config import GenerativeAiConfig


@dataclass(frozen=True, kw_only=True)
class Config(GenerativeAiConfig):
    """One process."""

    node_id: str = variable("NODE_ID", default="fraud_detection")
    bind_host: str = variable("BIND_HOST", default="0.0.0.0")
    port: int = variable("PORT", default=50051, minimum=1, maximum=65_535)
    # Keys the hashes by which customers and cards are counted. Empty: one of this process's own.
    fraud_key: str = variable("FRAUD_KEY", default="", secret=True)
    # The risk score from which an order is rejected, and from which somebody should look at one that passes.
    fraud_reject_score: int = variable("FRAUD_REJECT_SCORE", default=80, minimum=1, maximum=100)
    fraud_review_score: int = variable("FRAUD_REVIEW_SCORE", default=60, minimum=1, maximum=100)
    # What the generative model may add to the score; always less than what rejects, so it never rejects alone.
    fraud_ai_weight_max: int = variable("FRAUD_AI_WEIGHT_MAX", default=30, minimum=0, maximum=50)
    fraud_copies_max: int = variable("FRAUD_COPIES_MAX", default=100, minimum=2)
    # First digits of card numbers, at most 8, and the country of their issuer: "423456=EE,512345=DE". Issuers' lists
    # are sold, not published: without one, only accounts have a country.
    fraud_card_countries: tuple[str, ...] = variable("FRAUD_CARD_COUNTRIES", default=())
    fraud_window_s: float = variable("FRAUD_WINDOW_S", default=60.0, minimum=1, maximum=86_400)
    # Customers and payment's means that are counted at a time; the longest unseen make room.
    fraud_window_keys_max: int = variable("FRAUD_WINDOW_KEYS_MAX", default=20_000, minimum=1)
    # How long it is remembered which cards a contact and an address had.
    fraud_link_window_s: float = variable("FRAUD_LINK_WINDOW_S", default=86_400.0, minimum=1, maximum=604_800)
    fraud_link_keys_max: int = variable("FRAUD_LINK_KEYS_MAX", default=10_000, minimum=1)

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if not all(re.fullmatch("[0-9]{1,8}=[A-Z]{2}", pair) for pair in self.fraud_card_countries):
            raise ConfigError("FRAUD_CARD_COUNTRIES must be a comma-separated list such as 423456=EE")
