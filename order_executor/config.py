"""Settings of an order_executor node."""

from dataclasses import dataclass

from order_executor.rotation import rotate_after
from utils.config import ConfigError, variable
from utils.engines import ETCD, RAFT
from utils.etcd.config import EtcdConfig


@dataclass(frozen=True, kw_only=True)
class ExecutorConfig(EtcdConfig):
    cluster_id: str = variable("CLUSTER_ID", default="order_executor")
    # host:port of every node.
    order_queue: tuple[str, ...] = variable("ORDER_QUEUE")
    db_nodes: tuple[str, ...] = variable("DB_NODES")
    payment_service: str = variable("PAYMENT_SERVICE")
    # Orders that are held without a decision.
    in_flight_max: int = variable("EXECUTOR_IN_FLIGHT_MAX", default=64, minimum=1, maximum=512)
    # How the executors elect their leader: by a consensus of their own, on either engine, or by Bully. Then RAFT_PEERS
    # names them all the same, HEARTBEAT_INTERVAL_MS is the time between two pings, and ELECTION_TIMEOUT_MS the silence
    # after which a leader is given up.
    election: str = variable("EXECUTOR_ELECTION", default="raft", choices=(RAFT, ETCD, "bully"))
    # never, or every:<n> orders: then another node leads.
    leadership_rotation: str = variable("LEADERSHIP_ROTATION", default="never")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_engine("EXECUTOR_ELECTION", self.election)
        if not self.order_queue:
            raise ConfigError("ORDER_QUEUE names no node")
        if not self.db_nodes:
            raise ConfigError("DB_NODES names no node")
        if not self.payment_service:
            raise ConfigError("PAYMENT_SERVICE names no address")
        if rotate_after(self.leadership_rotation) is not None and self.election == "bully":
            raise ConfigError(
                "LEADERSHIP_ROTATION needs EXECUTOR_ELECTION=raft or etcd: with bully the highest node leads"
            )
