"""Settings of a database node."""

import dataclasses
from dataclasses import dataclass

from utils.config import ConfigError, variable
from utils.engines import ENGINES, RAFT
from utils.etcd.config import EtcdConfig

# Shorter than a replica's: whoever is hinted to be the primary asks for votes first. Its advantage is no right: it is
# elected, or not, like every other node, and pre-votes keep it from deposing a primary that is heard.
HINTED_ELECTION_TIMEOUT_MS = 225


@dataclass(frozen=True, kw_only=True)
class DatabaseConfig(EtcdConfig):
    node_id: str = variable("DB_NODE_ID")
    port: int = variable("DB_PORT", default=50052, minimum=1, maximum=65535)
    peers: dict[str, str] = variable("DB_PEERS")
    cluster_id: str = variable("CLUSTER_ID", default="db_node")
    # What keeps the database's log.
    engine: str = variable("STORE", default=RAFT, choices=ENGINES)
    # A hint for the first election by Raft.
    role: str = variable("DB_ROLE", default="replica", choices=("primary", "replica"))
    # How many nodes DB_PEERS has to name: a majority of fewer would not be a majority.
    node_count: int = variable("DB_NODE_COUNT", default=3, minimum=1, maximum=9)
    # host:port of every executor.
    order_executor: tuple[str, ...] = variable("ORDER_EXECUTOR")
    # For how long a reservation waits for its decision before the primary asks for it.
    in_doubt_s: float = variable("IN_DOUBT_S", default=5.0, minimum=0.05, maximum=3_600)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_engine("STORE", self.engine)
        if not self.join and len(self.peers) != self.node_count:
            raise ConfigError(f"DB_NODE_COUNT is {self.node_count}, but DB_PEERS names {len(self.peers)} nodes")

    @property
    def consensus(self) -> EtcdConfig:
        """Its settings of consensus, the hint included."""
        if self.role == "replica":
            return self
        timeout_ms = max(3 * self.heartbeat_interval_ms, min(self.election_timeout_ms, HINTED_ELECTION_TIMEOUT_MS))
        return dataclasses.replace(self, election_timeout_ms=timeout_ms)
