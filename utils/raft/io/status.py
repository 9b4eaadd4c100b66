"""What a node says about itself."""

from dataclasses import dataclass

from utils.raft.core.ready import Role


@dataclass(frozen=True)
class RaftStatus:
    """A node at one moment. `ready`: it leads and has committed and applied an entry of its own term."""

    node_id: str
    role: Role
    term: int
    leader_id: str | None
    leader_address: str | None
    commit_index: int
    last_applied: int
    last_log_index: int
    ready: bool
