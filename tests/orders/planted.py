"""Small wrong changes to what carries an order from the queue to its end. See tests/simulation/planting.py.

python -m tests.orders [NAME]          # plants each in turn, and shows which test kills it
"""

import contextlib
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from db_node.database_machine import DatabaseMachine
from db_node.keyspace import Keyspace
from db_node.remembered_requests import RememberedRequests
from order_executor.leadership import Leadership
from order_queue.claims import Claims
from order_queue.commands import MarkRecorded, encode
from order_queue.order_heap import OrderHeap
from order_queue.order_record import OrderRecord, OrderResult
from order_queue.queue_machine import QueueMachine
from order_queue.recorder import BATCH_MAX, Recorder
from order_queue.servicer import OrderQueueServicer
from payment.durable_ledger import DurableLedger
from payment.ledger import Ledger, Luck
from tests.simulation.planting import PlantedBug
from utils.two_phase_commit import decision_log
from utils.two_phase_commit.actions import Action, OrderDecision, Propose, SendDecision
from utils.two_phase_commit.coordinator import AttemptState, Coordinator
from utils.two_phase_commit.decision_log import DecisionLog
from utils.two_phase_commit.messages import Acknowledgement, ResolutionKind, Vote, VoteKind
from utils.two_phase_commit.participant import Participant, Phase, Verdict

_CLAIMS = "tests/unit/order_queue/test_claims.py::test_"
_DEQUEUE = "tests/unit/order_queue/test_dequeue.py::test_"
_HEAP = "tests/unit/order_queue/test_order_heap.py::test_"
_MACHINE = "tests/unit/order_queue/test_queue_machine.py::test_"
_RECORDER = "tests/unit/order_queue/test_recorder.py::test_"
_COORDINATOR = "tests/unit/two_phase_commit_coordinator/test_coordinator.py::test_"
_DECISIONS = "tests/unit/two_phase_commit_coordinator/test_decisions.py::test_"
_LOG = "tests/unit/two_phase_commit_decision_log/test_decision_log.py::test_"
_PARTICIPANT = "tests/unit/two_phase_commit_participant/test_participant.py::test_"
_DATABASE = "tests/unit/db_node/test_database_machine.py::test_"
_PAYMENT = "tests/unit/payment/test_durable_ledger.py::test_"
_LEDGER = "tests/unit/payment/test_ledger.py::test_"
_LEADERSHIP = "tests/unit/order_executor/test_leadership.py::test_"


# The queue


def dequeue_deletes_early(patch: pytest.MonkeyPatch) -> None:
    """The order leaves the queue when it is handed out: an executor that dies takes it along."""
    hand_out = OrderQueueServicer._hand_out

    def greedy(self: OrderQueueServicer, poll: int, orders_max: int) -> list[OrderRecord]:
        records = hand_out(self, poll, orders_max)
        for record in records:
            self._machine._heap.remove(record.order_id)
        return records

    patch.setattr(OrderQueueServicer, "_hand_out", greedy)


def hands_out_without_leading(patch: pytest.MonkeyPatch) -> None:
    """A deposed leader of the queue hands out what the new one has handed out already, or has seen to end."""

    async def trusting(self: OrderQueueServicer, context: Any) -> None:
        """Nobody is asked."""

    patch.setattr(OrderQueueServicer, "_confirm_leadership", trusting)


def keeps_claims_when_deposed(patch: pytest.MonkeyPatch) -> None:
    """A node that leads again believes what an executor held in another time."""
    patch.setattr(Claims, "forget", lambda self: None)


def every_poll_counts(patch: pytest.MonkeyPatch) -> None:
    """An older poll that still waits gets an order, and its answer has no reader."""
    patch.setattr(Claims, "counts", lambda self, poll: True)


def takes_polls_of_the_deposed(patch: pytest.MonkeyPatch) -> None:
    """Two executors get orders at the same time."""
    begin = Claims.begin

    def forgiving(self: Claims, executor_id: str, epoch: int, held: Collection[str]) -> int:
        return (
            begin(self, self.executor_id, self.epoch, held)
            if epoch < self.epoch
            else begin(self, executor_id, epoch, held)
        )

    patch.setattr(Claims, "begin", forgiving)


def forgets_the_size_of_an_order(patch: pytest.MonkeyPatch) -> None:
    """Orders are taken as they come, however many books they are for."""
    push = OrderHeap.push

    def plain(self: OrderHeap, order_id: str, *, quantity: int, position: int) -> None:
        push(self, order_id, quantity=1, position=position)

    patch.setattr(OrderHeap, "push", plain)


def believes_any_second_result(patch: pytest.MonkeyPatch) -> None:
    """Two ends of one order pass in silence."""
    patch.setattr(OrderResult, "agrees_with", lambda self, record: True)


def runs_a_forgotten_order_again(patch: pytest.MonkeyPatch) -> None:
    """An Idempotency-Key that is older than the queue's memory buys a second time."""
    known = QueueMachine._known
    patch.setattr(
        QueueMachine, "_known", lambda self, order_id: None if self.is_forgotten(order_id) else known(self, order_id)
    )


def marks_before_it_writes(patch: pytest.MonkeyPatch) -> None:
    """PostgreSQL is away, and an ended order is never recorded."""

    async def hasty(self: Recorder) -> bool:
        records = self._machine.first_unrecorded(BATCH_MAX)
        await self._node.propose(encode(MarkRecorded(records[-1].changed_index)), timeout_s=1)
        with contextlib.suppress(Exception):
            await self._store.write(records)
        return True

    patch.setattr(Recorder, "_record", hasty)


# The coordinator


def tells_before_it_is_committed(patch: pytest.MonkeyPatch) -> None:
    """A participant captures, and the next leader finds no decision: presumed abort."""
    decide = Coordinator._decide

    def eager(self: Coordinator) -> list[Action]:
        actions = decide(self)
        return actions + (self._tell_all(0) if actions and isinstance(actions[0], Propose) else [])

    patch.setattr(Coordinator, "_decide", eager)


def gives_up_what_it_has_proposed(patch: pytest.MonkeyPatch) -> None:
    """The COMMIT of unknown outcome is committed after all, and the attempt was aborted."""
    failed = Coordinator.failed

    def impatient(self: Coordinator, action: Any) -> list[Action]:
        if isinstance(action, Propose) and self.state is AttemptState.COMMITTING:
            return self._give_up([VoteKind.COMMIT, VoteKind.COMMIT])
        return failed(self, action)

    patch.setattr(Coordinator, "failed", impatient)


def counts_late_votes(patch: pytest.MonkeyPatch) -> None:
    """A vote for an attempt that was given up stands for one that holds nothing."""
    voted = Coordinator.voted

    def trusting(self: Coordinator, participant: str, vote: Vote) -> list[Action]:
        return voted(self, participant, Vote(self.attempt, vote.kind, vote.reasons, vote.other_attempt))

    patch.setattr(Coordinator, "voted", trusting)


def rejects_for_our_own_fault(patch: pytest.MonkeyPatch) -> None:
    """A customer hears "rejected" because a service of ours was away."""

    def harsh(self: Coordinator, kinds: Sequence[VoteKind | None]) -> list[Action]:
        self._become(AttemptState.ABORTING)
        self.decision = OrderDecision(self.attempt, self._position, commit=False)
        return [Propose(self.decision)]

    patch.setattr(Coordinator, "_give_up", harsh)


def believes_itself_and_not_the_log(patch: pytest.MonkeyPatch) -> None:
    """Two leaders decide differently, and each tells its own."""
    recorded = Coordinator.recorded

    def stubborn(self: Coordinator, decision: OrderDecision) -> list[Action]:
        return recorded(self, self.decision or decision)

    patch.setattr(Coordinator, "recorded", stubborn)


def delivers_a_decision_three_times(patch: pytest.MonkeyPatch) -> None:
    """A participant that is down for longer stays prepared for ever."""
    failed = Coordinator.failed

    def tired(self: Coordinator, action: Any) -> list[Action]:
        return [] if isinstance(action, SendDecision) and action.tries >= 2 else failed(self, action)

    patch.setattr(Coordinator, "failed", tired)


def takes_a_complaint_for_an_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    """A participant that never prepared is said to have committed."""
    acknowledged = Coordinator.acknowledged

    def polite(self: Coordinator, action: SendDecision, answer: Acknowledgement) -> list[Action]:
        done = Acknowledgement(action.decision.attempt, done=True, confirmation_code=answer.confirmation_code)
        return acknowledged(self, action, done)

    patch.setattr(Coordinator, "acknowledged", polite)


# The decision log


def the_last_decision_wins(patch: pytest.MonkeyPatch) -> None:
    """A REJECT after the COMMIT that participants have carried out."""
    record = DecisionLog.record

    def forgetful(self: DecisionLog, command: Any) -> Any:
        if isinstance(command, decision_log.RecordDecision):
            self._decisions.pop(command.decision.order_id, None)
        return record(self, command)

    patch.setattr(DecisionLog, "record", forgetful)


def presumes_abort_of_its_own_epoch(patch: pytest.MonkeyPatch) -> None:
    """A participant asks between its vote and the COMMIT, and rolls back what is about to be committed."""
    resolution = decision_log._resolution

    def hasty(attempt: Any, epoch: int, decision: Any, was_given_up: bool) -> ResolutionKind:
        return resolution(attempt, epoch, decision, True)

    patch.setattr(decision_log, "_resolution", hasty)


def finishes_what_is_not_finished(patch: pytest.MonkeyPatch) -> None:
    """A decision is forgotten before every participant has carried it out."""
    patch.setattr(DecisionLog, "all_finished_below", lambda self, ended_below: ended_below)


# Participants


def an_abort_leaves_no_mark(patch: pytest.MonkeyPatch) -> None:
    """A Prepare that comes late holds stock for an attempt which nobody will ever end."""
    abort = Participant._abort

    def forgetful(self: Participant[Any], attempt: Any, *rest: Any) -> Acknowledgement:
        if attempt.order_id not in self.records:
            return Acknowledgement(attempt, done=True)
        return abort(self, attempt, *rest)

    patch.setattr(Participant, "_abort", forgetful)


def a_hold_is_never_released(patch: pytest.MonkeyPatch) -> None:
    """The copies of a rejected order are sold to nobody."""
    patch.setattr(Keyspace, "release", lambda self, attempt, work: None)


def a_commit_needs_no_prepare(patch: pytest.MonkeyPatch) -> None:
    """A Commit of an attempt that holds nothing is acknowledged."""
    patch.setattr(Participant, "_commit", lambda self, attempt, *rest: Acknowledgement(attempt, done=True))


def a_no_is_thought_over(patch: pytest.MonkeyPatch) -> None:
    """The same Prepare again is asked of the business again: one attempt gets two votes."""
    prepare = Participant.prepare

    def fickle(self: Participant[Any], attempt: Any, *rest: Any) -> Vote:
        record = self.records.get(attempt.order_id)
        if record is not None and record.phase is Phase.DECLINED:
            del self._records[attempt.order_id]
        return prepare(self, attempt, *rest)

    patch.setattr(Participant, "prepare", fickle)


def no_stock_though_it_may_come_back(patch: pytest.MonkeyPatch) -> None:
    """The last copy is reserved by an order that is then declined, and the competitor was told No."""
    hold = Keyspace.hold

    def pessimistic(self: Keyspace, attempt: Any, work: dict[str, int]) -> Verdict:
        verdict = hold(self, attempt, work)
        return Verdict(VoteKind.ABORT, ()) if verdict.kind is VoteKind.BUSY else verdict

    patch.setattr(Keyspace, "hold", pessimistic)


def a_snapshot_without_remembered_requests(patch: pytest.MonkeyPatch) -> None:
    """A repeated DecrementStock takes twice, on a node that was restored in between."""
    patch.setattr(RememberedRequests, "restore", lambda self, clients: None)


def payment_answers_before_its_disk(patch: pytest.MonkeyPatch) -> None:
    """A vote that a power cut takes back."""

    async def lazy(self: DurableLedger, *arguments: Any) -> None:
        """It will be written one day."""

    patch.setattr(DurableLedger, "_write", lazy)


def the_luck_of_each_attempt_is_another(patch: pytest.MonkeyPatch) -> None:
    """A vote is not keepable: the second attempt of an order is declined where the first was authorised."""
    hold = Ledger.hold

    def fickle(self: Ledger, attempt: Any, work: Any) -> Verdict:
        self._luck = Luck(f"{self._luck.seed}{attempt.number}", 0.5, 0.5)
        return hold(self, attempt, work)

    patch.setattr(Ledger, "hold", fickle)


def the_fence_does_not_restore(patch: pytest.MonkeyPatch) -> None:
    """A restarted database has forgotten which orders it has committed."""
    restore = DatabaseMachine.restore

    def forgetful(self: DatabaseMachine, snapshot: bytes) -> None:
        restore(self, snapshot)
        self._participant._records.clear()

    patch.setattr(DatabaseMachine, "restore", forgetful)


# The executor


def does_not_say_what_it_holds(patch: pytest.MonkeyPatch) -> None:
    """Each poll hands the same orders out again."""
    poll = Leadership._poll

    async def silent(self: Leadership) -> None:
        dequeue = self._queue.dequeue
        patch.setattr(self._queue, "dequeue", lambda epoch, held, room, wait_s: dequeue(epoch, [], room, wait_s))
        await poll(self)

    patch.setattr(Leadership, "_poll", silent)


BUGS = (
    PlantedBug(dequeue_deletes_early, f"{_DEQUEUE}an_order_whose_hand_out_was_lost_is_handed_out_again"),
    PlantedBug(hands_out_without_leading, f"{_DEQUEUE}leadership_is_confirmed_before_orders_are_handed_out"),
    PlantedBug(
        keeps_claims_when_deposed, f"{_CLAIMS}lost_leadership_frees_everything_but_the_highest_epoch_stays_known"
    ),
    PlantedBug(every_poll_counts, f"{_CLAIMS}only_the_latest_poll_counts"),
    PlantedBug(takes_polls_of_the_deposed, f"{_CLAIMS}a_lower_epoch_is_refused_and_changes_nothing"),
    PlantedBug(forgets_the_size_of_an_order, f"{_HEAP}most_books_come_first_and_ties_go_to_the_earliest_arrival"),
    PlantedBug(believes_any_second_result, f"{_MACHINE}a_different_result_is_an_alarm_and_changes_nothing"),
    PlantedBug(runs_a_forgotten_order_again, f"{_MACHINE}a_forgotten_order_does_not_run_again"),
    PlantedBug(marks_before_it_writes, f"{_RECORDER}without_postgresql_nothing_is_marked_until_it_is_back"),
    PlantedBug(
        tells_before_it_is_committed, f"{_COORDINATOR}nobody_hears_of_a_decision_before_the_log_has_recorded_it"
    ),
    PlantedBug(
        gives_up_what_it_has_proposed, f"{_DECISIONS}an_unknown_outcome_repeats_the_same_proposal_and_nothing_else"
    ),
    PlantedBug(counts_late_votes, f"{_COORDINATOR}late_and_doubled_votes_mean_nothing"),
    PlantedBug(rejects_for_our_own_fault, f"{_COORDINATOR}what_is_no_vote_never_rejects_but_gives_the_attempt_up"),
    PlantedBug(
        believes_itself_and_not_the_log, f"{_DECISIONS}what_the_log_answers_is_the_decision_whoever_proposed_it"
    ),
    PlantedBug(
        delivers_a_decision_three_times, f"{_DECISIONS}a_decision_is_delivered_without_end_until_all_acknowledge"
    ),
    PlantedBug(
        takes_a_complaint_for_an_acknowledgement, f"{_DECISIONS}what_is_not_done_is_an_alarm_and_no_acknowledgement"
    ),
    PlantedBug(the_last_decision_wins, f"{_LOG}the_first_decision_wins_and_answers_later_proposals"),
    PlantedBug(presumes_abort_of_its_own_epoch, f"{_LOG}an_attempt_of_our_own_is_undecided_until_it_is_given_up"),
    PlantedBug(
        finishes_what_is_not_finished, f"{_LOG}what_is_finished_below_a_position_is_forgotten_and_stays_finished"
    ),
    PlantedBug(an_abort_leaves_no_mark, f"{_PARTICIPANT}abort_leaves_a_mark_so_that_a_late_prepare_is_refused"),
    PlantedBug(a_hold_is_never_released, f"{_DATABASE}abort_gives_the_copies_back"),
    PlantedBug(a_commit_needs_no_prepare, f"{_PARTICIPANT}an_unknown_order_that_is_not_finished_is_an_alarm_still"),
    PlantedBug(a_no_is_thought_over, f"{_PARTICIPANT}a_no_is_the_same_for_ever_and_holds_nothing"),
    PlantedBug(no_stock_though_it_may_come_back, f"{_DATABASE}no_only_if_no_undecided_order_could_free_the_copies"),
    PlantedBug(a_snapshot_without_remembered_requests, f"{_DATABASE}a_restored_database_goes_on_where_the_other_was"),
    PlantedBug(the_fence_does_not_restore, f"{_DATABASE}a_restored_database_goes_on_where_the_other_was"),
    PlantedBug(payment_answers_before_its_disk, f"{_PAYMENT}a_vote_leaves_only_once_it_is_journalled"),
    PlantedBug(the_luck_of_each_attempt_is_another, f"{_LEDGER}a_new_attempt_has_the_same_luck"),
    PlantedBug(does_not_say_what_it_holds, f"{_LEADERSHIP}undecided_orders_are_bounded_and_held_ones_are_named"),
)
