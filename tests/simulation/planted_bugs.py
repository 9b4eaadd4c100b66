"""Mistakes that implementations of Raft have made. Each is one small change, and the simulation must notice every one.

A function here takes pytest's monkeypatch and plants its bug until the test ends.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.simulation.disk import SimulatedDisk, Write
from utils.raft.core import election, follower, reads, replication
from utils.raft.core.campaign import Campaign
from utils.raft.core.core import RaftCore
from utils.raft.core.follower import Following
from utils.raft.core.leader import Leadership
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    InstallSnapshotResponse,
    RequestVoteRequest,
    RequestVoteResponse,
)
from utils.raft.core.progress import Progress
from utils.raft.core.ready import HardState, Ready, Role


def votes_twice_in_a_term(patch: pytest.MonkeyPatch) -> None:
    def grants_vote(hard_state: HardState, candidate: str, request: RequestVoteRequest, log: RaftLog) -> bool:
        return request.term == hard_state.current_term and log.is_candidate_up_to_date(
            request.last_log_index, request.last_log_term
        )

    patch.setattr(election, "grants_vote", grants_vote)


def votes_for_shorter_logs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RaftLog, "is_candidate_up_to_date", lambda *_: True)


def forgets_its_vote_in_a_power_cut(patch: pytest.MonkeyPatch) -> None:
    make_durable = SimulatedDisk._make_durable

    def without_vote(disk: SimulatedDisk, write: Write) -> None:
        if write.hard_state is not None:
            write = Write(HardState(write.hard_state.current_term), write.entries)
        make_durable(disk, write)

    patch.setattr(SimulatedDisk, "_make_durable", without_vote)


def counts_late_votes_of_older_terms(patch: pytest.MonkeyPatch) -> None:
    def count_vote(campaign: Campaign, sender: str, response: RequestVoteResponse) -> bool:
        if campaign._state.role is not Role.CANDIDATE or not response.granted:
            return False
        campaign._tally.add(sender)
        return campaign._tally.is_won

    patch.setattr(Campaign, "count_vote", count_vote)


def takes_half_for_a_majority(patch: pytest.MonkeyPatch) -> None:
    for module in (election, replication, reads):
        patch.setattr(module, "majority_of", lambda voters: len(voters) // 2)


def acknowledges_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    take_ready = RaftCore.ready
    acknowledgements = (AppendEntriesResponse, InstallSnapshotResponse)

    def ready(core: RaftCore) -> Ready | None:
        taken = take_ready(core)
        if taken is None:
            return None
        early = tuple(message for message in taken.messages if isinstance(message.body, acknowledgements))
        late = tuple(message for message in taken.messages if not isinstance(message.body, acknowledgements))
        return msgspec.structs.replace(taken, early_messages=taken.early_messages + early, messages=late)

    patch.setattr(RaftCore, "ready", ready)


def counts_its_own_entries_before_they_are_durable(patch: pytest.MonkeyPatch) -> None:
    append_own = RaftCore._append_own

    def append_and_count(core: RaftCore, kind: EntryKind, data: tuple[bytes, ...]) -> None:
        append_own(core, kind, data)
        core._leadership().persisted(core.last_index)

    patch.setattr(RaftCore, "_append_own", append_and_count)


def commits_entries_of_older_terms_by_counting(patch: pytest.MonkeyPatch) -> None:
    def committed_index(self: replication.Replication) -> int:
        matches = sorted([self._own_match_index, *(peer.match_index for peer in self._peers.values())], reverse=True)
        return matches[len(self._voters) // 2]

    patch.setattr(replication.Replication, "committed_index", committed_index)


def commits_beyond_what_the_leader_verified(patch: pytest.MonkeyPatch) -> None:
    append_entries = follower.append_entries

    def eager(log: RaftLog, request: AppendEntriesRequest) -> Any:
        result = append_entries(log, request)
        if result[0].success:
            log.commit_to(min(request.leader_commit, log.last_index))
        return result

    patch.setattr("utils.raft.core.follower.append_entries", eager)


def truncates_without_a_conflict(patch: pytest.MonkeyPatch) -> None:
    def first_conflict(_: RaftLog, entries: tuple[Entry, ...]) -> int | None:
        return entries[0].index if entries else None

    patch.setattr(RaftLog, "first_conflict", first_conflict)


def accepts_entries_without_looking_at_the_one_before(patch: pytest.MonkeyPatch) -> None:
    append_entries = follower.append_entries

    def credulous(log: RaftLog, request: AppendEntriesRequest) -> Any:
        term = log.term_at(request.prev_log_index)
        if term is None:
            return append_entries(log, request)
        return append_entries(
            log,
            AppendEntriesRequest(
                term=request.term,
                prev_log_index=request.prev_log_index,
                prev_log_term=term,
                entries=request.entries,
                leader_commit=request.leader_commit,
                read_id=request.read_id,
            ),
        )

    patch.setattr("utils.raft.core.follower.append_entries", credulous)


def takes_what_was_sent_for_what_matches(patch: pytest.MonkeyPatch) -> None:
    sent_entries = Progress.sent_entries

    def optimistic(progress: Progress, last_index: int) -> None:
        sent_entries(progress, last_index)
        progress.match_index = last_index

    patch.setattr(Progress, "sent_entries", optimistic)


def obeys_leaders_of_older_terms(patch: pytest.MonkeyPatch) -> None:
    answer = Following.append_entries

    def obedient(self: Following, sender: str, request: AppendEntriesRequest) -> None:
        state = self._state
        if request.term < state.current_term and state.role is Role.FOLLOWER:
            follower.append_entries(state.log, request)
            state.send(sender, AppendEntriesResponse(request.term, success=True, match_index=state.log.last_index))
            return
        answer(self, sender, request)

    patch.setattr(Following, "append_entries", obedient)


def reads_without_asking_a_majority(patch: pytest.MonkeyPatch) -> None:
    request_read = Leadership.request_read

    def self_assured(leadership: Leadership, read_id: int) -> None:
        request_read(leadership, read_id)
        for peer in leadership._reads._acknowledged:
            leadership._reads.acknowledged(peer, read_id)

    patch.setattr(Leadership, "request_read", self_assured)


def reads_before_its_first_own_commit(patch: pytest.MonkeyPatch) -> None:
    def request(self: reads.Reads, read_id: int, commit_index: int) -> None:
        self._waiting.append((read_id, commit_index))
        self.newest_id = read_id

    patch.setattr(reads.Reads, "request", request)


def takes_old_confirmations_for_new_reads(patch: pytest.MonkeyPatch) -> None:
    def acknowledged(self: reads.Reads, peer: str, read_id: int) -> None:
        del read_id
        self._acknowledged[peer] = self.newest_id

    patch.setattr(reads.Reads, "acknowledged", acknowledged)


def never_sends_again_what_was_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Progress, "rejected", lambda *_: None)


PlantedBug = Callable[[pytest.MonkeyPatch], None]

PLANTED_BUGS: tuple[PlantedBug, ...] = (
    votes_twice_in_a_term,
    votes_for_shorter_logs,
    forgets_its_vote_in_a_power_cut,
    counts_late_votes_of_older_terms,
    takes_half_for_a_majority,
    acknowledges_before_it_is_durable,
    counts_its_own_entries_before_they_are_durable,
    commits_entries_of_older_terms_by_counting,
    commits_beyond_what_the_leader_verified,
    truncates_without_a_conflict,
    accepts_entries_without_looking_at_the_one_before,
    takes_what_was_sent_for_what_matches,
    obeys_leaders_of_older_terms,
    reads_without_asking_a_majority,
    reads_before_its_first_own_commit,
    takes_old_confirmations_for_new_reads,
    never_sends_again_what_was_lost,
)
