"""The errors of proposals and reads as a caller in another process sees them."""

import contextlib
from collections.abc import Iterator

from utils.raft.errors import (
    MembershipRefusedError,
    NotLeaderError,
    OutcomeUnknownError,
    ProposalDroppedError,
    ProposalRefusedError,
    TransferFailedError,
)
from utils.rpc.errors import FailedPrecondition, NotLeader, ResourceExhausted, Unavailable


@contextlib.contextmanager
def raft_errors() -> Iterator[None]:
    """For servicers: turns a RaftError into one of utils.rpc.errors."""
    try:
        yield
    except NotLeaderError as error:
        raise NotLeader(
            str(error), leader_id=error.leader_id or "", leader_address=error.leader_address or ""
        ) from error
    except (ProposalDroppedError, OutcomeUnknownError) as error:
        raise Unavailable(str(error)) from error
    except (MembershipRefusedError, TransferFailedError) as error:
        raise FailedPrecondition(str(error)) from error
    except ProposalRefusedError as error:
        raise ResourceExhausted(str(error)) from error
