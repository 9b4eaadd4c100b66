"""Every way in which a proposal can fail has its place in the table of errors."""

import pytest

from utils.raft.errors import (
    NotLeaderError,
    OutcomeUnknownError,
    ProposalDroppedError,
    ProposalRefusedError,
    RaftError,
)
from utils.raft.io.service_errors import raft_errors
from utils.rpc.errors import NotLeader, ResourceExhausted, ServiceError, Unavailable


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ProposalDroppedError("why"), Unavailable),
        (OutcomeUnknownError("why"), Unavailable),
        (ProposalRefusedError("why"), ResourceExhausted),
        (NotLeaderError(None, None), NotLeader),
    ],
)
def test_errors_are_turned_into_those_of_calls(error: RaftError, expected: type[ServiceError]) -> None:
    with pytest.raises(ServiceError) as caught, raft_errors():
        raise error
    assert type(caught.value) is expected
    assert caught.value.message == str(error)


def test_a_redirect_names_the_leader() -> None:
    with pytest.raises(NotLeader) as caught, raft_errors():
        raise NotLeaderError("node_2", "127.0.0.1:15072")
    assert (caught.value.leader_id, caught.value.leader_address) == ("node_2", "127.0.0.1:15072")


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), raft_errors():
        raise ZeroDivisionError
