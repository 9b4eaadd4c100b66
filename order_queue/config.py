"""Settings of an order_queue node."""

from dataclasses import dataclass

from utils.config import variable
from utils.engines import ENGINES, RAFT
from utils.etcd.config import EtcdConfig


@dataclass(frozen=True, kw_only=True)
class QueueConfig(EtcdConfig):
    cluster_id: str = variable("CLUSTER_ID", default="order_queue")
    # What keeps the queue's log.
    engine: str = variable("QUEUE", default=RAFT, choices=ENGINES)
    # Where order records go; empty: nowhere, and after QUEUE_UNRECORDED_MAX ended orders no new one is taken.
    database_url: str = variable("DATABASE_URL", default="", secret=True)
    # Orders that have not ended, waiting or with an executor. At some 3 KB each this is 30 MB.
    pending_max: int = variable("QUEUE_WAITING_MAX", default=10_000, minimum=1)
    # Ended orders that PostgreSQL does not have: about half an hour without it at 60 orders a second.
    unrecorded_max: int = variable("QUEUE_UNRECORDED_MAX", default=100_000, minimum=1)
    # How long ended orders are gathered before they are written together.
    record_interval_ms: int = variable("QUEUE_RECORD_INTERVAL_MS", default=500, minimum=1, maximum=60_000)
    # For how long the queue itself answers a repeated Idempotency-Key; PostgreSQL is asked about older ones.
    keys_remembered_s: float = variable("IDEMPOTENCY_WINDOW_S", default=86_400.0, minimum=1, maximum=31_536_000)
    # How many positions of the queue's log outweigh one book, so that small orders do not starve. 0: none ever do.
    ageing: int = variable("QUEUE_AGEING", default=0, minimum=0, maximum=1_000_000)
    # The longest pause between two tries to reach PostgreSQL.
    record_backoff_ms_max: int = variable("QUEUE_RECORD_BACKOFF_MS_MAX", default=10_000, minimum=1, maximum=600_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_engine("QUEUE", self.engine)
