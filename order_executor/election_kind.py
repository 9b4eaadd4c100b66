"""Which kind of election a node's data belongs to: a change of it has rules, and must not happen by accident."""

from pathlib import Path

from utils.config import ConfigError

_FILE = "election"


def claim(data_dir: Path, kind: str) -> None:
    """Notes at the first start that the node elects by `kind`. Raises ConfigError if it has elected otherwise before.

    The decisions of the one kind are not known to the other: what is decided and not finished would be decided again.
    """
    path = data_dir / _FILE
    has_log = (data_dir / "raft").exists()
    before = path.read_text().strip() if path.exists() else "raft" if has_log else kind
    if before != kind:
        raise ConfigError(
            f"EXECUTOR_ELECTION is {kind}, and this node has elected by {before}: let the executors finish every order "
            f"first, stop them all and the queue, then write {kind} into {path} on each (docs/two_phase_commit.md)"
        )
    data_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{kind}\n")
