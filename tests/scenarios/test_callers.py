"""What callers are told by whole nodes is true, whatever happens to those: the accidents of the runtime."""

from collections.abc import Iterator

import pytest

from tests.scenarios.stage import Stage
from tests.simulation.faults import CRASH_POINTS
from tests.simulation.simulation import processes_that_can_end
from utils.raft.core.ready import Role
from utils.raft.errors import NotLeaderError, OutcomeUnknownError, ProposalDroppedError


@pytest.fixture(autouse=True)
def _nodes_may_end() -> Iterator[None]:
    with processes_that_can_end():
        yield


def test_a_waiter_is_told_what_became_of_its_own_command_and_not_of_that_at_its_index() -> None:
    stage = Stage()
    old = stage.leader()
    stage.cut_off(old)
    doomed = stage.propose(old)
    new = stage.leader(other_than=old)
    others = [stage.propose(new) for _ in range(3)]
    stage.run_while(lambda: not all(other.done() for other in others))
    stage.heal()
    stage.run_while(lambda: not doomed.done())
    # The new leader's no-op has the index that the doomed command had.
    assert isinstance(doomed.exception(), ProposalDroppedError)
    stage.all_agree()


def test_a_deposed_leader_tells_its_callers_soon_that_nobody_knows() -> None:
    stage = Stage()
    old = stage.leader()
    stage.cut_off(old)
    proposal = stage.propose(old)
    stage.run(5)
    assert proposal.done(), "after more than two election timeouts it still says nothing"
    assert isinstance(proposal.exception(), OutcomeUnknownError)


def test_a_command_that_ended_unknown_may_be_committed_and_is_so_once() -> None:
    stage = Stage()
    old = stage.leader()
    stage.deafen(old)
    proposal = stage.propose(old)
    stage.run(5)
    assert isinstance(proposal.exception(), OutcomeUnknownError)
    stage.leader(other_than=old)
    stage.heal()
    stage.run(2)
    assert stage.invariants.commands_committed == 1
    stage.all_agree()


def test_a_result_is_told_once_a_majority_of_the_disks_has_it() -> None:
    stage = Stage()
    leader = stage.leader()
    stage.run(1)
    for follower in stage.others(leader):
        follower.sync_us_max = 10**9
    proposal = stage.propose(leader)
    stage.run(3)
    assert not proposal.done() or isinstance(proposal.exception(), OutcomeUnknownError)
    assert stage.invariants.commands_committed == 0


def test_what_was_told_as_done_is_there_after_a_power_cut_of_all() -> None:
    stage = Stage(snapshot_entries=10)
    for _ in range(5):
        leader = stage.leader()
        proposals = [stage.propose(leader) for _ in range(8)]
        stage.run_while(lambda proposals=proposals: not all(proposal.done() for proposal in proposals))  # type: ignore[misc]
        results = [proposal.result() for proposal in proposals]
        for node in stage.nodes:
            node.cut_power()
        for node in stage.nodes:
            node.start()
        stage.leader()
        assert stage.invariants.committed_index >= results[-1].index
        stage.all_agree()
    assert stage.invariants.commands_committed == 40


def test_a_read_at_a_leader_that_was_cut_off_is_never_answered() -> None:
    stage = Stage()
    old = stage.leader()
    stage.cut_off(old)
    read = stage.ask(old, lambda raft: raft.read_barrier(timeout_s=1_000.0))
    new = stage.leader(other_than=old)
    stage.propose(new)
    stage.run(3)
    assert isinstance(read.exception(), NotLeaderError)


def test_a_read_at_a_leader_that_slept_while_another_took_over_is_not_answered() -> None:
    stage = Stage()
    old = stage.leader()
    old.stop()
    new = stage.leader(other_than=old)
    written = stage.propose(new)
    stage.run_while(lambda: not written.done())
    # The first thing that it does when it goes on, before it hears anything: it still believes to lead.
    assert old.raft is not None
    assert old.raft.status.role is Role.LEADER
    read = stage.ask(old, lambda raft: raft.read_barrier(timeout_s=1_000.0))
    assert old.process is not None
    stage.loop.resume(old.process)
    stage.run(3)
    assert isinstance(read.exception(), NotLeaderError)


def test_a_read_at_a_new_leader_sees_what_the_old_one_had_told_as_done() -> None:
    stage = Stage()
    old = stage.leader()
    written = stage.propose(old)
    stage.run_while(lambda: not written.done())
    index = written.result().index
    old.cut_power()
    stage.run_while(lambda: not any(node.leads for node in stage.others(old)))
    [new] = [node for node in stage.others(old) if node.leads]
    read = stage.ask(new, lambda raft: raft.read_barrier(timeout_s=1_000.0))
    stage.run_while(lambda: not read.done())
    assert read.exception() is None
    assert new.raft is not None
    assert new.raft.status.last_applied >= index


def test_a_leader_whose_disk_is_full_gives_way() -> None:
    stage = Stage()
    full = stage.leader()
    full.files.is_full = True
    proposals = [stage.propose(full) for _ in range(60)]
    stage.run(5)
    assert not full.leads, "it goes on leading"
    new = stage.leader(other_than=full)
    written = stage.propose(new)
    stage.run_while(lambda: not written.done())
    assert all(proposal.done() for proposal in proposals)
    full.files.is_full = False
    stage.run(2)
    stage.all_agree()


def test_a_node_that_was_cut_off_comes_back_without_a_new_term() -> None:
    stage = Stage()
    leader = stage.leader()
    assert leader.core is not None
    term = leader.core.current_term
    away = stage.others(leader)[0]
    stage.cut_off(away)
    stage.run(10)
    stage.heal()
    stage.run(3)
    assert leader.leads
    assert leader.core.current_term == term


def test_what_was_held_up_for_seconds_and_comes_at_once_takes_nothing_back() -> None:
    stage = Stage()
    old = stage.leader()
    stage.clog(old)
    proposals = [stage.propose(old) for _ in range(5)]
    new = stage.leader(other_than=old)
    written = [stage.propose(new) for _ in range(5)]
    stage.run_while(lambda: not all(proposal.done() for proposal in written))
    stage.heal()
    stage.run(3)
    assert all(proposal.done() for proposal in proposals)
    stage.all_agree()


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_leader_that_loses_power_at_this_point_comes_back_with_all_it_promised(point: str) -> None:
    stage = Stage(snapshot_entries=10)
    leader = stage.leader()
    leader.files.cuts_at = point
    told = []
    for _ in range(60):
        if not leader.leads:
            break
        told.append(stage.propose(leader))
        stage.run(0.02)
    assert leader.files.cuts[point], "the leader never came to this point"
    assert leader.process is None
    stage.leader()
    leader.start()
    stage.run(3)
    for proposal in told:
        if proposal.done() and proposal.exception() is None:
            assert proposal.result().index <= stage.invariants.committed_index
    stage.all_agree()


def test_damage_keeps_a_node_from_starting_and_the_others_go_on() -> None:
    stage = Stage()
    leader = stage.leader()
    for _ in range(20):
        stage.propose(leader)
    stage.run(2)
    damaged = stage.others(leader)[0]
    damaged.cut_power()
    [name] = [name for name in damaged.files.contents() if name.startswith("log-")][:1]
    damaged.files.contents()[name][60] ^= 1
    damaged.start()
    with pytest.raises(Exception, match="is damaged at byte"):
        stage.run(1)
    stage.loop.failure = None
    written = stage.propose(leader)
    stage.run_while(lambda: not written.done())
    assert written.exception() is None
