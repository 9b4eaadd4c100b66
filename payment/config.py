"""Payment's configuration."""

from dataclasses import dataclass

from utils.config import variable


@dataclass(frozen=True, kw_only=True)
class Config:
    node_id: str = variable("NODE_ID", default="payment-service")
    bind_host: str = variable("BIND_HOST", default="0.0.0.0")
    port: int = variable("PORT", default=50053, minimum=0, maximum=65535)
    # Holds the journal.
    data_dir: str = variable("DATA_DIR")
    # host:port of every executor.
    order_executor: tuple[str, ...] = variable("ORDER_EXECUTOR")
    # For how long an authorisation waits for its decision before payment asks for it.
    in_doubt_s: float = variable("IN_DOUBT_S", default=5.0, minimum=0.05, maximum=3_600)
    card_success_rate: float = variable("PAYMENT_CARD_SUCCESS_RATE", default=0.95, minimum=0, maximum=1)
    bank_success_rate: float = variable("PAYMENT_BANK_SUCCESS_RATE", default=0.90, minimum=0, maximum=1)
    # Which orders are declined is a function of this and of the order id.
    seed: str = variable("PAYMENT_SEED", default="bookstore")
