"""A kind of election is not changed by accident."""

from pathlib import Path

import pytest

from order_executor import election_kind
from utils.config import ConfigError


@pytest.mark.parametrize(("before", "after"), [("raft", "bully"), ("bully", "raft")])
def test_another_kind_than_before_is_refused_with_the_way_out(tmp_path: Path, before: str, after: str) -> None:
    data_dir = tmp_path / "node"
    election_kind.claim(data_dir, before)
    election_kind.claim(data_dir, before)
    with pytest.raises(ConfigError, match=rf"EXECUTOR_ELECTION is {after}.*finish every order.*{data_dir}/election"):
        election_kind.claim(data_dir, after)
    (data_dir / "election").write_text(after)
    election_kind.claim(data_dir, after)


def test_data_from_before_there_was_a_choice_belongs_to_raft(tmp_path: Path) -> None:
    (tmp_path / "raft").mkdir()
    with pytest.raises(ConfigError):
        election_kind.claim(tmp_path, "bully")
    election_kind.claim(tmp_path, "raft")
