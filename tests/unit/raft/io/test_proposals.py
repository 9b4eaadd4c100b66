"""How proposals and reads end. The core is real; the cluster around it is played by the test."""

import asyncio
from typing import Any

import pytest

from utils.raft.core.core import RaftCore
from utils.raft.core.limits import Limits
from utils.raft.core.messages import LogBase, Snapshot
from utils.raft.core.ready import HardState, Role
from utils.raft.errors import (
    NotLeaderError,
    OutcomeUnknownError,
    ProposalDroppedError,
    ProposalRefusedError,
)
from utils.raft.io import proposals as module
from utils.raft.io.proposals import Proposal, Proposals, ReadBarriers


def _core(*voters: str) -> RaftCore:
    return RaftCore(
        node_id="node_1",
        voters=voters,
        hard_state=HardState(),
        snapshot=Snapshot(),
        base=LogBase(),
        entries=(),
        random_ticks=lambda low, _: low,
        election_ticks=3,
        heartbeat_ticks=1,
        limits=Limits(),
    )


def _leader() -> RaftCore:
    """It leads a cluster of itself, in term 1; entry 1 is its no-op."""
    core = _core("node_1")
    while core.role is not Role.LEADER:
        core.tick()
    return core


async def _outcome(proposal: Proposal) -> Any:
    try:
        return await asyncio.wait_for(proposal.future, 5)
    except Exception as error:  # noqa: BLE001 the outcome
        return type(error)


async def test_a_committed_command_ends_with_its_result() -> None:
    proposals = Proposals()
    first, second = proposals.add(b"one", None), proposals.add(b"two", 1)
    proposals.propose(_leader(), None)
    proposals.committed(2, 1, "result of one")
    proposals.committed(3, 1, None)
    assert [await _outcome(first), await _outcome(second)] == ["result of one", None]


async def test_a_command_is_dropped_when_another_entry_is_committed_in_its_place() -> None:
    proposals = Proposals()
    proposal = proposals.add(b"one", None)
    proposals.propose(_leader(), None)
    proposals.committed(1, 1, None)
    proposals.committed(2, 2, "of another leader")
    assert await _outcome(proposal) is ProposalDroppedError


async def test_a_command_for_another_term_is_not_proposed() -> None:
    proposals = Proposals()
    core = _leader()
    proposal, right = proposals.add(b"one", 2), proposals.add(b"two", 1)
    before = core.last_index
    proposals.propose(core, "address")
    assert await _outcome(proposal) is NotLeaderError
    assert core.last_index == before + 1
    proposals.committed(core.last_index, 1, "two")
    assert await _outcome(right) == "two"


async def test_a_node_that_stopped_leading_proposes_nothing() -> None:
    proposals = Proposals()
    proposal = proposals.add(b"one", None)
    core = _core("node_1", "node_2", "node_3")
    proposals.propose(core, None)
    assert await _outcome(proposal) is NotLeaderError
    assert core.last_index == 0


async def test_a_command_whose_caller_is_gone_is_not_proposed() -> None:
    proposals = Proposals()
    core = _leader()
    proposals.add(b"one", None).future.cancel()
    proposals.propose(core, None)
    assert core.last_index == 1


async def test_commands_of_earlier_terms_end_unknown() -> None:
    proposals = Proposals()
    proposal = proposals.add(b"one", None)
    proposals.propose(_leader(), None)
    proposals.give_up_before(1)
    assert not proposal.future.done()
    proposals.give_up_before(2)
    assert await _outcome(proposal) is OutcomeUnknownError
    assert not proposals.is_any_in_log


async def test_a_command_that_a_snapshot_may_hold_ends_unknown() -> None:
    proposals = Proposals()
    first, second = proposals.add(b"one", None), proposals.add(b"two", None)
    proposals.propose(_leader(), None)
    proposals.skipped_to(2)
    assert await _outcome(first) is OutcomeUnknownError
    proposals.committed(3, 1, "two")
    assert await _outcome(second) == "two"


async def test_closing_ends_all_of_them() -> None:
    proposals = Proposals()
    in_log = proposals.add(b"one", None)
    proposals.propose(_leader(), None)
    waiting = proposals.add(b"two", None)
    proposals.close(NotLeaderError(None, None))
    assert [await _outcome(in_log), await _outcome(waiting)] == [OutcomeUnknownError, NotLeaderError]


async def test_what_is_in_flight_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROPOSALS_MAX", 2)
    monkeypatch.setattr(module, "PROPOSALS_BYTES_MAX", 100)
    proposals = Proposals()
    with pytest.raises(ProposalRefusedError, match="a command has at most"):
        proposals.add(bytes(module.COMMAND_BYTES_MAX + 1), None)
    proposals.add(bytes(60), None)
    with pytest.raises(ProposalRefusedError, match="100 bytes"):
        proposals.add(bytes(60), None)
    proposals.add(bytes(40), None)
    with pytest.raises(ProposalRefusedError, match="2 proposals"):
        proposals.add(b"", None)
    proposals.propose(_leader(), None)
    proposals.committed(2, 1, None)
    # What has ended gives its place and its bytes back.
    proposals.add(bytes(60), None)


async def test_reads_wait_for_confirmation_and_for_the_state_machine() -> None:
    reads = ReadBarriers()
    core = _leader()
    first = reads.add()
    reads.request(core, None)
    read_id = core.request_read() - 1
    reads.applied(100)
    assert not first.done()
    reads.confirmed(read_id, 5)
    reads.applied(4)
    assert not first.done()
    reads.applied(5)
    await asyncio.wait_for(first, 5)


async def test_reads_that_come_together_share_one_confirmation() -> None:
    reads = ReadBarriers()
    core = _leader()
    both = [reads.add(), reads.add()]
    reads.request(core, None)
    reads.request(core, None)
    assert core.request_read() == 2
    reads.confirmed(1, 1)
    reads.applied(1)
    await asyncio.wait_for(asyncio.gather(*both), 5)


async def test_a_read_that_is_not_confirmed_ends_with_leadership() -> None:
    reads = ReadBarriers()
    core = _leader()
    confirmed = reads.add()
    reads.request(core, None)
    reads.confirmed(1, 5)
    unconfirmed = reads.add()
    reads.request(core, None)
    reads.lost_leadership(NotLeaderError("node_2", "address"))
    with pytest.raises(NotLeaderError) as caught:
        await asyncio.wait_for(unconfirmed, 5)
    assert caught.value.leader_address == "address"
    reads.applied(5)
    await asyncio.wait_for(confirmed, 5)


async def test_a_follower_confirms_no_reads() -> None:
    reads = ReadBarriers()
    read = reads.add()
    reads.request(_core("node_1", "node_2", "node_3"), "address")
    with pytest.raises(NotLeaderError) as caught:
        await asyncio.wait_for(read, 5)
    assert caught.value.leader_address == "address"
