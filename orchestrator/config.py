"""The orchestrator's environment."""

from dataclasses import dataclass

from utils.config import ConfigError, variable

# A shorter secret could be guessed, and with it order ids and fingerprints.
ORDER_ID_KEY_LENGTH_MIN = 16


@dataclass(frozen=True)
class Config:
    """Addresses are host:port; those of a cluster name all of its nodes."""

    order_id_key: str = variable("ORDER_ID_KEY", secret=True)
    transaction_verification: str = variable("TRANSACTION_VERIFICATION")
    fraud_detection: str = variable("FRAUD_DETECTION")
    suggestions: str = variable("SUGGESTIONS")
    payment_service: str = variable("PAYMENT_SERVICE")
    order_queue: tuple[str, ...] = variable("ORDER_QUEUE")
    order_executor: tuple[str, ...] = variable("ORDER_EXECUTOR")
    db_nodes: tuple[str, ...] = variable("DB_NODES")
    node_id: str = variable("NODE_ID", default="orchestrator")
    bind_host: str = variable("BIND_HOST", default="0.0.0.0")
    port: int = variable("PORT", default=5000, minimum=1, maximum=65535)
    # Where pages may come from that call this service from a browser.
    cors_origins: tuple[str, ...] = variable("CORS_ORIGINS", default=("http://localhost:8080", "http://127.0.0.1:8080"))
    # Requests in progress; each has a thread, made when it is needed, and a checkout that is verified three more.
    http_threads: int = variable("HTTP_THREADS", default=256, minimum=4, maximum=1024)
    # Of those, how many one client's address may have.
    http_threads_per_address: int = variable("HTTP_THREADS_PER_ADDRESS", default=128, minimum=1, maximum=1024)
    # More wait until one of these ends; one that says nothing for 10 s is closed.
    http_connections: int = variable("HTTP_CONNECTIONS", default=2048, minimum=16, maximum=65536)
    # Shorter than what a process that stops gives to requests in progress.
    body_timeout_s: float = variable("BODY_TIMEOUT_S", default=5.0, minimum=0.1, maximum=6)
    verification_timeout_s: float = variable("VERIFICATION_TIMEOUT_S", default=5.0, minimum=0.1, maximum=60)
    # How long POST /checkout waits for an order's end.
    checkout_wait_s: float = variable("CHECKOUT_WAIT_S", default=25.0, minimum=0.1, maximum=120)

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if len(self.order_id_key) < ORDER_ID_KEY_LENGTH_MIN:
            raise ConfigError(f"ORDER_ID_KEY must have at least {ORDER_ID_KEY_LENGTH_MIN} characters")
        for name, addresses in (
            ("ORDER_QUEUE", self.order_queue),
            ("ORDER_EXECUTOR", self.order_executor),
            ("DB_NODES", self.db_nodes),
        ):
            if not addresses:
                raise ConfigError(f"{name} names no address")
