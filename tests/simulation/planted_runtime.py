"""Small wrong changes to the runtime: what is said when, and what callers are told. See planting.py."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.simulation.planting import PlantedBug
from utils.raft.core.core import RaftCore
from utils.raft.core.messages import Entry, Snapshot
from utils.raft.core.ready import Ready
from utils.raft.errors import NotLeaderError, ProposalDroppedError
from utils.raft.io import writer as writer_module
from utils.raft.io.applier import Applier
from utils.raft.io.owner import Owner
from utils.raft.io.proposals import Proposals, ReadBarriers
from utils.raft.io.snapshots import SnapshotKeeper
from utils.raft.io.transfers import Transfers
from utils.raft.io.writer import LogWriter

_PROMISES = "tests/unit/raft/io/test_promises.py::test_"
_PROPOSALS = "tests/unit/raft/io/test_proposals.py::test_"
_WRITER = "tests/unit/raft/io/test_writer.py::test_"
_NODE = "tests/unit/raft/io/test_node.py::test_"
_KEEPER = "tests/unit/raft/io/test_snapshots.py::test_"
_CALLERS = "tests/scenarios/test_callers.py::test_"


def answers_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    """A vote or an acknowledgement leaves, and the power fails before the disk has it."""
    write = LogWriter._write

    async def hasty(self: LogWriter, group: Sequence[Ready]) -> None:
        for ready in group:
            self._written(ready)
        await write(self, group)

    patch.setattr(LogWriter, "_write", hasty)


def overtakes_a_write_that_is_under_way(patch: pytest.MonkeyPatch) -> None:
    """An answer that itself needs no disk speaks of something that is still on its way there."""
    patch.setattr(LogWriter, "is_idle", property(lambda _: True))


def writes_only_the_first_of_a_group(patch: pytest.MonkeyPatch) -> None:
    """Group commit: what gathered meanwhile is acknowledged, and was not written."""
    write = LogWriter._write

    async def lazy(self: LogWriter, group: Sequence[Ready]) -> None:
        await write(self, group[:1])

    patch.setattr(LogWriter, "_write", lazy)


def writes_a_new_log_before_its_turn(patch: pytest.MonkeyPatch) -> None:
    """A log that begins anew shares a write with what came before it, and loses it."""
    patch.setattr(writer_module, "_groups", lambda readies: [list(readies)])


def begins_a_log_before_its_snapshot_is_durable(patch: pytest.MonkeyPatch) -> None:
    """The power fails in between: a log in the middle of history, and no state."""

    async def write(self: LogWriter, group: Sequence[Ready]) -> None:
        first = group[0]
        hard_state = next((ready.hard_state for ready in reversed(group) if ready.hard_state), None)
        entries = [entry for ready in group for entry in ready.entries]
        if first.compaction is None:
            await original(self, group)
            return
        kept = (*first.compaction.entries, *entries)
        await self._do(self._storage.begin_log, first.compaction.base, hard_state, kept)
        if first.snapshot is not None:
            await self._do(self._storage.save_snapshot, first.snapshot)

    original = LogWriter._write
    patch.setattr(LogWriter, "_write", write)


def answers_a_waiter_by_index_whatever_the_term(patch: pytest.MonkeyPatch) -> None:
    """A client is told another leader's result as its own, and its command was never applied."""

    def committed(self: Proposals, index: int, term: int, result: Any) -> None:
        del term
        if (proposal := self._by_index.pop(index, None)) is not None:
            self._end(proposal, result)

    patch.setattr(Proposals, "committed", committed)


def tells_a_deposed_leaders_unknown_as_dropped(patch: pytest.MonkeyPatch) -> None:
    """The client sends it again, and both are applied."""

    def give_up_before(self: Proposals, term: int) -> None:
        for index, proposal in list(self._by_index.items()):
            if proposal.term < term:
                del self._by_index[index]
                self._end(proposal, error=ProposalDroppedError("nobody tells"))

    patch.setattr(Proposals, "give_up_before", give_up_before)


def tells_a_proposal_that_a_snapshot_covers_as_done(patch: pytest.MonkeyPatch) -> None:
    """It may have been another leader's entry: the client believes in what never was."""

    def skipped_to(self: Proposals, index: int) -> None:
        for skipped in [skipped for skipped in self._by_index if skipped <= index]:
            self._end(self._by_index.pop(skipped), None)

    patch.setattr(Proposals, "skipped_to", skipped_to)


def tells_what_a_stopped_node_had_in_flight_as_not_proposed(patch: pytest.MonkeyPatch) -> None:
    """The client sends it again, and both are applied."""
    close = Proposals.close

    def close_all(self: Proposals, error_of_waiting: Exception) -> None:
        for proposal in self._by_index.values():
            self._end(proposal, error=NotLeaderError(None, None))
        close(self, error_of_waiting)

    patch.setattr(Proposals, "close", close_all)


def proposes_in_whatever_term(patch: pytest.MonkeyPatch) -> None:
    """What was decided as leader of one epoch is done in another."""
    propose = Proposals.propose

    def careless(self: Proposals, core: RaftCore, leader_address: str | None) -> None:
        for proposal in self.waiting:
            proposal.required_term = None
        propose(self, core, leader_address)

    patch.setattr(Proposals, "propose", careless)


def proposes_for_callers_that_are_gone(patch: pytest.MonkeyPatch) -> None:
    """Whoever was told that the time is over tries again, and both are applied."""
    add = Proposals.add

    def shielded(self: Proposals, command: bytes, required_term: int | None) -> Any:
        proposal = add(self, command, required_term)
        caller = proposal.future
        proposal.future = asyncio.get_running_loop().create_future()
        proposal.future.add_done_callback(lambda _: None)
        waiting = type(proposal)(command, required_term)
        waiting.future = caller
        return waiting

    patch.setattr(Proposals, "add", shielded)


def tells_a_result_at_the_leaders_append(patch: pytest.MonkeyPatch) -> None:
    """Before anybody else has it: the leader dies, and what was told as done is gone."""
    propose = Proposals.propose

    def eager(self: Proposals, core: RaftCore, leader_address: str | None) -> None:
        propose(self, core, leader_address)
        for index in list(self._by_index):
            self.committed(index, core.current_term, None)

    patch.setattr(Proposals, "propose", eager)


def answers_a_read_before_it_is_applied(patch: pytest.MonkeyPatch) -> None:
    """A client does not read what it has just written."""

    def confirmed(self: ReadBarriers, read_id: int, index: int) -> None:
        del index
        for future in self._unconfirmed.pop(read_id, []):
            if not future.done():
                future.set_result(None)

    patch.setattr(ReadBarriers, "confirmed", confirmed)


def answers_reads_of_a_deposed_leader(patch: pytest.MonkeyPatch) -> None:
    """What another leader has committed since is not in them."""

    def lost_leadership(self: ReadBarriers, error: NotLeaderError) -> None:
        del error
        for futures in self._unconfirmed.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)
        self._unconfirmed.clear()

    patch.setattr(ReadBarriers, "lost_leadership", lost_leadership)


def says_that_a_transfer_is_done_when_it_was_given_up(patch: pytest.MonkeyPatch) -> None:
    """An operator takes a machine away that still leads."""
    patch.setattr(Transfers, "given_up", lambda self, _: self.lost_leadership(2**62))


def applies_again_what_a_snapshot_covers(patch: pytest.MonkeyPatch) -> None:
    """A copy is sold twice on the node that was restarted."""

    def restore(self: Applier, snapshot: Snapshot) -> None:
        original(self, snapshot)
        if snapshot.last_included_index:
            self._machine.apply(snapshot.last_included_index, b"applied again")

    original = Applier.restore
    patch.setattr(Applier, "restore", restore)


def applies_what_is_no_command(patch: pytest.MonkeyPatch) -> None:
    """The state machine is given a leader's no-op."""

    def apply(self: Applier, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if not entry.data:
                self._machine.apply(entry.index, entry.data)
        original(self, entries)

    original = Applier.apply
    patch.setattr(Applier, "apply", apply)


def forgets_the_log_before_the_snapshot_is_durable(patch: pytest.MonkeyPatch) -> None:
    """The power fails in between: the entries are nowhere."""

    async def save(self: SnapshotKeeper, snapshot: Snapshot, forgettable_index: int) -> None:
        self._saved(forgettable_index)
        await original(self, snapshot, forgettable_index)

    original = SnapshotKeeper._save
    patch.setattr(SnapshotKeeper, "_save", save)


def leads_on_with_a_full_disk(patch: pytest.MonkeyPatch) -> None:
    """Its heartbeats keep others from taking over, and nothing is committed."""
    patch.setattr(Owner, "_on_full", lambda *_: None)


def leaves_proposals_of_a_deposed_leader_waiting(patch: pytest.MonkeyPatch) -> None:
    """A caller hears nothing until its own time is over, however long that is."""
    patch.setattr(
        "utils.raft.io.callers.Callers.lost_leadership", lambda self, error, _: self.reads.lost_leadership(error)
    )


BUGS = (
    PlantedBug(answers_before_it_is_durable, f"{_PROMISES}a_vote_is_told_when_it_is_durable"),
    PlantedBug(overtakes_a_write_that_is_under_way, f"{_PROMISES}a_vote_is_told_when_it_is_durable"),
    PlantedBug(writes_only_the_first_of_a_group, f"{_WRITER}what_comes_during_a_write_shares_the_next_one"),
    PlantedBug(writes_a_new_log_before_its_turn, f"{_WRITER}a_log_begins_anew_in_its_turn_and_after_its_snapshot"),
    PlantedBug(
        begins_a_log_before_its_snapshot_is_durable, f"{_WRITER}a_log_begins_anew_in_its_turn_and_after_its_snapshot"
    ),
    PlantedBug(
        answers_a_waiter_by_index_whatever_the_term,
        f"{_PROPOSALS}a_command_is_dropped_when_another_entry_is_committed_in_its_place",
    ),
    PlantedBug(tells_a_deposed_leaders_unknown_as_dropped, f"{_PROPOSALS}commands_of_earlier_terms_end_unknown"),
    PlantedBug(
        tells_a_proposal_that_a_snapshot_covers_as_done, f"{_PROPOSALS}a_command_that_a_snapshot_may_hold_ends_unknown"
    ),
    PlantedBug(tells_what_a_stopped_node_had_in_flight_as_not_proposed, f"{_PROPOSALS}closing_ends_all_of_them"),
    PlantedBug(proposes_in_whatever_term, f"{_PROPOSALS}a_command_for_another_term_is_not_proposed"),
    PlantedBug(proposes_for_callers_that_are_gone, f"{_PROPOSALS}a_command_whose_caller_is_gone_is_not_proposed"),
    PlantedBug(tells_a_result_at_the_leaders_append, f"{_PROPOSALS}commands_of_earlier_terms_end_unknown"),
    PlantedBug(
        answers_a_read_before_it_is_applied, f"{_PROPOSALS}reads_wait_for_confirmation_and_for_the_state_machine"
    ),
    PlantedBug(answers_reads_of_a_deposed_leader, f"{_PROPOSALS}a_read_that_is_not_confirmed_ends_with_leadership"),
    PlantedBug(
        says_that_a_transfer_is_done_when_it_was_given_up,
        "tests/unit/raft/io/test_node_snapshots.py::test_leadership_stays_when_the_target_is_away",
    ),
    PlantedBug(
        applies_again_what_a_snapshot_covers,
        "tests/unit/raft/io/test_node_snapshots.py::test_a_long_log_is_replaced_by_a_snapshot_and_a_restart_goes_on_from_there",
    ),
    PlantedBug(applies_what_is_no_command, f"{_NODE}a_long_log_is_applied_in_order"),
    PlantedBug(
        forgets_the_log_before_the_snapshot_is_durable,
        f"{_KEEPER}without_space_the_log_is_kept_and_it_is_tried_again_later",
    ),
    PlantedBug(leads_on_with_a_full_disk, f"{_CALLERS}a_leader_whose_disk_is_full_gives_way"),
    PlantedBug(
        leaves_proposals_of_a_deposed_leader_waiting,
        f"{_CALLERS}a_deposed_leader_tells_its_callers_soon_that_nobody_knows",
    ),
)
