"""Small wrong changes to how leaders are elected, read and hand over. See planting.py."""

import pytest

from tests.simulation.planting import PlantedBug
from utils.raft.core import election, reads, replication
from utils.raft.core.campaign import Campaign
from utils.raft.core.core import RaftCore
from utils.raft.core.election import ElectionTimer, Tally
from utils.raft.core.follower import Following
from utils.raft.core.leader import Leadership
from utils.raft.core.log import RaftLog
from utils.raft.core.messages import (
    PreVoteRequest,
    PreVoteResponse,
    RequestVoteRequest,
    RequestVoteResponse,
    TimeoutNowRequest,
)
from utils.raft.core.reads import Reads
from utils.raft.core.ready import HardState, Role
from utils.raft.core.state import NodeState

_ELECTION = "tests/unit/raft/core/test_election.py::test_"
_LOST_DISK = "tests/unit/raft/core/test_lost_disk.py::test_"
_READS = "tests/unit/raft/core/test_reads.py::test_"
_TRANSFER = "tests/unit/raft/core/test_transfer.py::test_"


def votes_twice_in_a_term(patch: pytest.MonkeyPatch) -> None:
    """Two leaders in one term."""

    def grants_vote(hard_state: HardState, candidate: str, request: RequestVoteRequest, log: RaftLog) -> bool:
        up_to_date = log.is_candidate_up_to_date(request.last_log_index, request.last_log_term)
        return request.term == hard_state.current_term and up_to_date

    patch.setattr(election, "grants_vote", grants_vote)


def votes_for_shorter_logs(patch: pytest.MonkeyPatch) -> None:
    """A leader without committed entries."""
    patch.setattr(RaftLog, "is_candidate_up_to_date", lambda *_: True)


def compares_logs_by_their_length_alone(patch: pytest.MonkeyPatch) -> None:
    """A long log of a deposed leader wins over committed entries of later terms."""
    patch.setattr(RaftLog, "is_candidate_up_to_date", lambda log, index, _: index >= log.last_index)


def counts_late_votes_of_older_terms(patch: pytest.MonkeyPatch) -> None:
    """A leader that no majority voted for."""

    def count_vote(campaign: Campaign, sender: str, response: RequestVoteResponse) -> bool:
        if campaign._state.role is not Role.CANDIDATE or not response.granted:
            return False
        campaign._tally.add(sender)
        return campaign._tally.is_won

    patch.setattr(Campaign, "count_vote", count_vote)


def counts_a_repeated_vote_twice(patch: pytest.MonkeyPatch) -> None:
    """A leader that no majority voted for, where the network doubles messages."""

    def add(tally: Tally, voter: str) -> None:
        tally._granted.add(f"{voter} {len(tally._granted)}")

    patch.setattr(Tally, "add", add)


def counts_votes_of_strangers(patch: pytest.MonkeyPatch) -> None:
    """Whoever is no member has a say."""
    patch.setattr(Tally, "add", lambda tally, node_id: tally._granted.add(node_id))


def takes_half_for_a_majority(patch: pytest.MonkeyPatch) -> None:
    """Two halves decide two things."""
    for module in (election, replication, reads):
        patch.setattr(module, "majority_of", lambda voters: len(voters) // 2)


def gives_its_vote_back_after_a_lost_election(patch: pytest.MonkeyPatch) -> None:
    """A second vote in the same term."""
    start = Campaign.start

    def forgetful(campaign: Campaign) -> bool:
        campaign._state.hard_state = HardState(campaign._state.current_term)
        return start(campaign)

    patch.setattr(Campaign, "start", forgetful)


def starts_elections_without_asking_first(patch: pytest.MonkeyPatch) -> None:
    """A node that comes back from a partition deposes a leader that everybody else hears (dissertation, 9.6)."""
    patch.setattr(Campaign, "start", lambda campaign: campaign._start_election("it does not ask"))


def grants_pre_votes_while_it_hears_a_leader(patch: pytest.MonkeyPatch) -> None:
    """As above: asking first is worth nothing if everybody says yes."""

    def answer(campaign: Campaign, sender: str, request: PreVoteRequest) -> None:
        granted = election.grants_pre_vote(campaign._state.hard_state, request, campaign._state.log)
        term = request.term if granted else campaign._state.current_term
        campaign._state.send(sender, PreVoteResponse(term, granted))

    patch.setattr(Campaign, "answer_pre_vote", answer)


def votes_before_it_has_a_configuration(patch: pytest.MonkeyPatch) -> None:
    """A voter that lost its disk, and has only just joined, votes a second time in a term."""

    def answer(campaign: Campaign, sender: str, request: RequestVoteRequest) -> None:
        state = campaign._state
        granted = election.grants_vote(state.hard_state, sender, request, state.log)
        if granted:
            state.hard_state = HardState(state.current_term, sender)
        state.send(sender, RequestVoteResponse(state.current_term, granted))

    patch.setattr(Campaign, "answer_vote", answer)


def keeps_its_vote_in_the_term_of_a_leader(patch: pytest.MonkeyPatch) -> None:
    """As above: it gives to a late candidate what it gave to this leader before it lost its disk."""
    hear = Following._hear

    def undecided(following: Following, leader: str, term: int) -> None:
        state, hard_state = following._state, following._state.hard_state
        hear(following, leader, term)
        if hard_state.voted_for is None or hard_state.current_term < term:
            state.hard_state = HardState(term)

    patch.setattr(Following, "_hear", undecided)


def listens_to_candidates_while_it_hears_a_leader(patch: pytest.MonkeyPatch) -> None:
    """A removed or returning server disrupts the cluster with its terms (dissertation, 4.2.3)."""
    patch.setattr(NodeState, "hears_leader", property(lambda _: False))


def leads_on_without_a_majority(patch: pytest.MonkeyPatch) -> None:
    """Clients wait at a leader that was cut off (dissertation, 6.2)."""
    patch.setattr(Leadership, "take_majority_activity", lambda _: True)


def draws_the_same_timeout_every_time(patch: pytest.MonkeyPatch) -> None:
    """Split votes without end (paper, 5.2)."""
    patch.setattr(ElectionTimer, "restart_with_another_timeout", ElectionTimer.restart, raising=True)
    patch.setattr(ElectionTimer, "_timeout", 10, raising=False)


def reads_without_asking_a_majority(patch: pytest.MonkeyPatch) -> None:
    """A deposed leader serves what has been overwritten."""
    request = Reads.request

    def self_assured(self: Reads, read_id: int, commit_index: int) -> None:
        request(self, read_id, commit_index)
        for peer in "bcde":
            self.acknowledged(peer, read_id)

    patch.setattr(Reads, "request", self_assured)


def reads_before_its_first_own_commit(patch: pytest.MonkeyPatch) -> None:
    """A new leader does not know yet what is committed, and serves less."""

    def request(self: Reads, read_id: int, commit_index: int) -> None:
        self._waiting.append((read_id, commit_index))
        self.newest_id = read_id

    patch.setattr(Reads, "request", request)


def takes_old_confirmations_for_new_reads(patch: pytest.MonkeyPatch) -> None:
    """An answer from before the read proves nothing for it."""

    def acknowledged(self: Reads, peer: str, read_id: int) -> None:
        del read_id
        self._acknowledged[peer] = self.newest_id

    patch.setattr(Reads, "acknowledged", acknowledged)


def takes_proposals_while_it_hands_over(patch: pytest.MonkeyPatch) -> None:
    """The target never has the whole log, or the proposal is lost with the term."""
    patch.setattr(Leadership, "is_handing_over", property(lambda _: False))


def never_hands_over(patch: pytest.MonkeyPatch) -> None:
    """Leadership stays where it is."""
    patch.setattr(Leadership, "hand_over", lambda *_: "b")


def hands_over_without_a_new_term(patch: pytest.MonkeyPatch) -> None:
    """Two leaders in one term."""

    def take_over(campaign: Campaign, sender: str, request: TimeoutNowRequest) -> bool:
        del sender
        return request.term == campaign._state.current_term

    patch.setattr(Campaign, "take_over", take_over)


def never_gives_a_transfer_up(patch: pytest.MonkeyPatch) -> None:
    """A target that is down stops the cluster: the leader takes no proposals for ever."""
    patch.setattr("utils.raft.core.transfer.Transfer.tick", lambda _: False)


def obeys_two_leaders_of_one_term(patch: pytest.MonkeyPatch) -> None:
    """What must never happen goes unnoticed."""
    become_follower = NodeState.become_follower

    def step(core: RaftCore, message: object) -> None:
        if core.role is Role.LEADER:
            become_follower(core._state, core.current_term, None, "another leads")
        original(core, message)  # type: ignore[arg-type]

    original = RaftCore.step
    patch.setattr(RaftCore, "step", step)


BUGS = (
    PlantedBug(
        votes_twice_in_a_term, f"{_ELECTION}a_node_votes_for_the_first_that_asks_in_a_term_and_for_no_other_5_2"
    ),
    PlantedBug(votes_for_shorter_logs, f"{_ELECTION}a_vote_goes_only_to_a_log_at_least_as_up_to_date_5_4_1"),
    PlantedBug(
        compares_logs_by_their_length_alone, f"{_ELECTION}a_vote_goes_only_to_a_log_at_least_as_up_to_date_5_4_1"
    ),
    PlantedBug(counts_late_votes_of_older_terms, f"{_ELECTION}votes_of_an_older_term_do_not_count_5_2"),
    PlantedBug(counts_a_repeated_vote_twice, f"{_ELECTION}the_same_vote_heard_twice_counts_once_5_2"),
    PlantedBug(
        counts_votes_of_strangers,
        "tests/unit/raft/core/test_membership.py::test_the_vote_of_a_learner_does_not_count_4_2_1",
    ),
    PlantedBug(takes_half_for_a_majority, f"{_ELECTION}a_candidate_with_votes_of_a_majority_becomes_leader_5_2"),
    PlantedBug(
        gives_its_vote_back_after_a_lost_election, f"{_ELECTION}a_failed_election_does_not_give_the_vote_back_5_2"
    ),
    PlantedBug(
        starts_elections_without_asking_first, f"{_ELECTION}a_pre_candidate_changes_neither_term_nor_vote_d_9_6"
    ),
    PlantedBug(
        grants_pre_votes_while_it_hears_a_leader, f"{_ELECTION}a_node_that_hears_a_leader_grants_no_pre_vote_d_9_6"
    ),
    PlantedBug(
        votes_before_it_has_a_configuration,
        f"{_LOST_DISK}a_node_that_joins_with_an_empty_disk_gives_no_vote_before_it_has_a_configuration",
    ),
    PlantedBug(
        keeps_its_vote_in_the_term_of_a_leader,
        f"{_LOST_DISK}nor_to_anybody_but_the_leader_in_the_term_of_a_leader_that_it_has_heard",
    ),
    PlantedBug(
        listens_to_candidates_while_it_hears_a_leader,
        f"{_ELECTION}a_node_that_hears_a_leader_ignores_candidates_and_their_terms_d_4_2_3",
    ),
    PlantedBug(
        leads_on_without_a_majority,
        f"{_ELECTION}a_leader_that_no_majority_answers_for_an_election_timeout_steps_down_d_6_2",
    ),
    PlantedBug(
        draws_the_same_timeout_every_time, f"{_ELECTION}each_election_draws_a_new_timeout_from_a_fixed_interval_5_2"
    ),
    PlantedBug(reads_without_asking_a_majority, f"{_READS}a_read_is_confirmed_by_a_majority_that_heard_of_it"),
    PlantedBug(reads_before_its_first_own_commit, f"{_READS}a_read_waits_for_the_leaders_first_own_commit"),
    PlantedBug(
        takes_old_confirmations_for_new_reads, f"{_READS}answers_to_messages_from_before_the_read_do_not_confirm_it"
    ),
    PlantedBug(takes_proposals_while_it_hands_over, f"{_TRANSFER}no_proposal_is_taken_meanwhile_3_10"),
    PlantedBug(never_hands_over, f"{_TRANSFER}a_target_that_has_the_whole_log_is_told_at_once_3_10"),
    PlantedBug(
        hands_over_without_a_new_term, f"{_TRANSFER}the_target_starts_an_election_at_once_without_asking_first_3_10"
    ),
    PlantedBug(never_gives_a_transfer_up, f"{_TRANSFER}a_transfer_is_given_up_after_the_longest_election_timeout_3_10"),
    PlantedBug(
        obeys_two_leaders_of_one_term,
        "tests/unit/raft/core/test_follower.py::test_two_leaders_of_one_term_stop_the_process_5_2",
    ),
)
