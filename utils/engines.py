"""Which engine keeps a service's replicated state: our own Raft, or etcd."""

from pathlib import Path
from typing import Final

from utils.config import ConfigError
from utils.etcd.config import EtcdConfig
from utils.etcd.node import EtcdNode
from utils.raft.consensus import ConsensusNode
from utils.raft.io.node import RaftNode
from utils.raft.state_machine import StateMachine

RAFT: Final = "raft"
ETCD: Final = "etcd"
ENGINES: Final = (RAFT, ETCD)


def consensus_node(engine: str, config: EtcdConfig, machine: StateMachine) -> ConsensusNode:
    """A node of the cluster whose log is kept by `engine`."""
    return EtcdNode(config, machine) if engine == ETCD else RaftNode(config, machine)


def claim(data_dir: Path, file: str, variable: str, kind: str, way_out: str) -> None:
    """Notes in `file` at the first start that the node's state is with `kind`, which `variable` has said.

    What the one keeps the other does not know, so a change must not happen by accident: raises ConfigError if the state
    was elsewhere before, with the `way_out`.
    """
    path = data_dir / file
    has_log = (data_dir / "raft").exists()
    before = path.read_text().strip() if path.exists() else RAFT if has_log else kind
    if before != kind:
        raise ConfigError(
            f"{variable} is {kind}, and this node's state is with {before}: {way_out}, then write {kind} into {path} "
            "on each (docs/engines.md)"
        )
    data_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{kind}\n")
