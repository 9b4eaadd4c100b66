"""Settings of a Raft node. The configuration of a service that is one inherits from it."""

from dataclasses import dataclass

from utils.config import ConfigError, variable


@dataclass(frozen=True, kw_only=True)
class RaftConfig:
    """A service may give fields variables of other names by defining them again.

    The defaults of the times suit machines whose event loops lag by up to 35 ms and whose disks sync in up to 20 ms:
    a leader that falls silent is replaced in less than half a second.
    """

    node_id: str = variable("NODE_ID")
    bind_host: str = variable("BIND_HOST", default="0.0.0.0")
    port: int = variable("PORT", minimum=1, maximum=65535)
    # Node id to host:port, this one included: its own is where peers and clients are sent. Those of a new cluster, the
    # same for all of them; once a change of membership is in the log, that is who belongs to the cluster.
    peers: dict[str, str] = variable("RAFT_PEERS")
    # host:port of one or more members, for a node that did not found its cluster: while its disk is empty, it joins.
    join: tuple[str, ...] = variable("RAFT_JOIN", default=())
    # Nodes of another cluster are refused, in messages and on disk.
    cluster_id: str = variable("CLUSTER_ID", default="bookstore")
    data_dir: str = variable("DATA_DIR")
    # The shortest; each timeout is drawn from there to twice it.
    election_timeout_ms: int = variable("ELECTION_TIMEOUT_MS", default=300, minimum=50, maximum=60_000)
    heartbeat_interval_ms: int = variable("HEARTBEAT_INTERVAL_MS", default=75, minimum=10, maximum=10_000)
    # A snapshot is taken after this many entries, or this many bytes of commands, since the last one; but not before as
    # many bytes as that had, so that snapshots never cost more than the log itself.
    snapshot_entries: int = variable("SNAPSHOT_ENTRIES", default=10_000, minimum=10, maximum=1_000_000)
    snapshot_log_bytes: int = variable("SNAPSHOT_LOG_BYTES", default=16 * 1024 * 1024, minimum=1024, maximum=1024**3)

    def __post_init__(self) -> None:
        if self.node_id not in self.peers:
            raise ConfigError(f"{self.node_id} is not among its own peers: {', '.join(self.peers)}")
        if self.election_timeout_ms < 3 * self.heartbeat_interval_ms:
            raise ConfigError(
                f"ELECTION_TIMEOUT_MS ({self.election_timeout_ms}) must be at least three times "
                f"HEARTBEAT_INTERVAL_MS ({self.heartbeat_interval_ms})"
            )
