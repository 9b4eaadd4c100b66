"""Small wrong changes to what takes an approved order back. See planted.py."""

from typing import Any

import msgspec
import pytest

from db_node.commands import Restock
from db_node.database_machine import DatabaseMachine
from order_executor.ports import UnfinishedRefund
from order_executor.refunds import Refunds
from order_queue import record_store
from order_queue.commands import Forgot, RequestRefund
from order_queue.order_record import OrderRecord, OrderState
from order_queue.queue_machine import QueueMachine
from order_queue.refund_servicer import RefundServicer
from payment.ledger import Ledger, LedgerEntry, Payment, PaymentState
from tests.simulation.planting import PlantedBug
from utils.raft.errors import OutcomeUnknownError

_QUEUE = "tests/unit/order_queue/test_refunds.py::test_"
_RECORDS = "tests/integration/order_queue/test_record_store.py::test_"
_DATABASE = "tests/unit/db_node/test_database_machine.py::test_"
_PAYMENT = "tests/unit/payment/test_durable_ledger.py::test_"
_EXECUTOR = "tests/unit/order_executor/test_refunds.py::test_"


# Payment


def refunds_each_time_it_is_asked(patch: pytest.MonkeyPatch) -> None:
    """A repeated request gives the money back twice."""
    refund = Ledger.refund

    def again(self: Ledger, entry: LedgerEntry) -> str:
        order_id = entry.record.attempt.order_id
        if (payment := self._payments.get(order_id)) is not None:
            self._payments[order_id] = msgspec.structs.replace(payment, state=PaymentState.CAPTURED)
        return refund(self, entry)

    patch.setattr(Ledger, "refund", again)


def refunds_what_is_only_held(patch: pytest.MonkeyPatch) -> None:
    """Money is given back that was never taken."""
    patch.setattr(Payment, "was_captured", property(lambda self: self.state is not PaymentState.DECLINED))


# The database


def restocks_each_time_it_is_asked(patch: pytest.MonkeyPatch) -> None:
    """A repeated request puts copies on the shelf that nobody has: oversold."""
    restock = DatabaseMachine._restock

    def again(self: DatabaseMachine, command: Restock) -> Any:
        self._restocked.discard(command.order_id)
        return restock(self, command)

    patch.setattr(DatabaseMachine, "_restock", again)


def a_snapshot_forgets_what_was_restocked(patch: pytest.MonkeyPatch) -> None:
    """A node that was restored restocks again, and the others do not."""
    restore = DatabaseMachine.restore

    def forgetful(self: DatabaseMachine, snapshot: bytes) -> None:
        restore(self, snapshot)
        self._restocked = type(self._restocked)()

    patch.setattr(DatabaseMachine, "restore", forgetful)


def restocks_what_was_never_sold(patch: pytest.MonkeyPatch) -> None:
    """An order that was rejected adds to the shelf."""
    patch.setattr(DatabaseMachine, "_is_committed", lambda self, order_id, position: True)


# The executors


def restocks_before_it_refunds(patch: pytest.MonkeyPatch) -> None:
    """Where there is nothing to refund, copies return to the shelf all the same."""
    carry_out = Refunds._carry_out

    async def hasty(self: Refunds, refund: UnfinishedRefund) -> None:
        await self._database.compensate(refund.compensation)
        await carry_out(self, refund)

    patch.setattr(Refunds, "_carry_out", hasty)


def completes_before_anything_is_done(patch: pytest.MonkeyPatch) -> None:
    """The leader dies, and nobody hears of the refund any more."""
    carry_out = Refunds._carry_out

    async def hasty(self: Refunds, refund: UnfinishedRefund) -> None:
        order_id = refund.compensation.order_id
        await self._queue.complete_refund(order_id, f"REF-{order_id[-4:]}", ())
        await carry_out(self, refund)

    patch.setattr(Refunds, "_carry_out", hasty)


# The queue


def refunds_a_rejected_order(patch: pytest.MonkeyPatch) -> None:
    """Whatever has ended can be refunded."""
    request_refund = QueueMachine._request_refund

    def lenient(self: QueueMachine, index: int, command: RequestRefund) -> Any:
        record = self.record(command.order_id)
        if record is not None and record.state is OrderState.REJECTED:
            approved = msgspec.structs.replace(record, state=OrderState.APPROVED)
            with pytest.MonkeyPatch.context() as believing:
                believing.setattr(self, "record", lambda order_id: approved)
                return request_refund(self, index, command)
        return request_refund(self, index, command)

    patch.setattr(QueueMachine, "_request_refund", lenient)


def tells_of_a_refund_that_may_not_be_kept(patch: pytest.MonkeyPatch) -> None:
    """The operator believes in a refund, and its leader dies before the log has it."""
    requested = RefundServicer._requested

    async def eager(self: RefundServicer, order_id: str, *arguments: Any) -> OrderRecord:
        try:
            return await requested(self, order_id, *arguments)
        except OutcomeUnknownError:
            record = self._machine.record(order_id)
            assert record is not None
            return record

    patch.setattr(RefundServicer, "_requested", eager)


def a_new_leader_knows_of_no_refund(patch: pytest.MonkeyPatch) -> None:
    """A refund that was requested before the snapshot is never carried out."""
    restore = QueueMachine.restore

    def forgetful(self: QueueMachine, snapshot: bytes) -> None:
        restore(self, snapshot)
        self._unfinished_refunds = {}

    patch.setattr(QueueMachine, "restore", forgetful)


def forgets_a_refund_before_its_end(patch: pytest.MonkeyPatch) -> None:
    """The order is old enough to be forgotten, and its refund goes with it."""
    forget = QueueMachine._forget

    def forgetful(self: QueueMachine, up_to_index: int, orders_max: int) -> Forgot:
        self._unfinished_refunds = {}
        return forget(self, up_to_index, orders_max)

    patch.setattr(QueueMachine, "_forget", forgetful)


def a_late_leader_writes_over_what_is_newer(patch: pytest.MonkeyPatch) -> None:
    """PostgreSQL says of a refunded order that its refund is still to come."""
    newer = " AND order_records.changed_index < EXCLUDED.changed_index"
    assert newer in record_store._INSERT
    patch.setattr(record_store, "_INSERT", record_store._INSERT.replace(newer, ""))


BUGS = (
    PlantedBug(
        refunds_each_time_it_is_asked, f"{_PAYMENT}what_was_captured_is_refunded_once_and_then_always_answered_alike"
    ),
    PlantedBug(refunds_what_is_only_held, f"{_PAYMENT}what_was_not_captured_is_not_refunded"),
    PlantedBug(restocks_each_time_it_is_asked, f"{_DATABASE}the_copies_of_a_committed_order_return_once"),
    PlantedBug(a_snapshot_forgets_what_was_restocked, f"{_DATABASE}the_copies_of_a_committed_order_return_once"),
    PlantedBug(restocks_what_was_never_sold, f"{_DATABASE}nothing_returns_of_an_order_that_took_nothing"),
    PlantedBug(
        restocks_before_it_refunds,
        f"{_EXECUTOR}what_was_never_captured_is_an_alarm_and_nothing_returns_to_the_shelf",
    ),
    PlantedBug(
        completes_before_anything_is_done, f"{_EXECUTOR}payment_refunds_and_the_copies_are_back_unless_they_are_lost"
    ),
    PlantedBug(refunds_a_rejected_order, f"{_QUEUE}only_an_approved_order_is_refunded"),
    PlantedBug(tells_of_a_refund_that_may_not_be_kept, f"{_QUEUE}a_repeated_request_is_answered_with_the_first"),
    PlantedBug(a_new_leader_knows_of_no_refund, f"{_QUEUE}a_restored_machine_knows_its_refunds"),
    PlantedBug(forgets_a_refund_before_its_end, f"{_QUEUE}a_refund_is_forgotten_only_when_postgresql_has_its_end"),
    PlantedBug(
        a_late_leader_writes_over_what_is_newer,
        f"{_RECORDS}a_refund_is_written_over_what_was_there_and_nothing_older_over_it",
    ),
)
