import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator.checkout import Checkout, Limits, Ticket
from orchestrator.identity import Identities
from orchestrator.ports import OrderRecord, OrderState, PricedCheckout
from orchestrator.problems import (
    ComponentUnavailable,
    KeyReused,
    OrderNotFound,
    OrderUnconfirmed,
    QueueFull,
    RequestInvalid,
)
from orchestrator.verification import Verdict
from tests.unit.orchestrator.fakes import BOOK, CARD_NUMBER, CVV, INSTRUMENT, FakePrices, FakeQueue, body, fail_first
from utils.clocks.vector_clock import VectorClock
from utils.domain.order import OrderItem, PricedItem, Reason
from utils.rpc.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, Unavailable

PASSED = Verdict((), 7, VectorClock({"orchestrator": 1}), INSTRUMENT, (BOOK,))
REJECTED = Verdict((Reason("card_expired", "The card has expired."),), 9, VectorClock(), None, ())
GONE = Unavailable("gone")


class FakeVerifier:
    """Gives the same verdict of every order."""

    def __init__(self, verdict: Verdict = PASSED) -> None:
        self.verdict = verdict
        self.orders: list[PricedCheckout] = []
        self.failure: Exception | None = None
        # Called while an order is verified.
        self.meanwhile: Callable[[], object] = lambda: None

    def verify(self, order: PricedCheckout, *, timeout_s: float) -> Verdict:
        self.orders.append(order)
        self.meanwhile()
        if self.failure is not None:
            raise self.failure
        return self.verdict


class Shop:
    """A checkout with everything around it in memory, and without waiting between tries."""

    def __init__(self, verdict: Verdict = PASSED, **limits: Any) -> None:
        self.queue = FakeQueue()
        self.verifier = FakeVerifier(verdict)
        self.pauses: list[float] = []
        self.checkout = Checkout(
            identities=Identities("a secret of some length"),
            prices=FakePrices(),
            verifier=self.verifier,
            queue=self.queue,
            limits=Limits(**{"wait_s": 5.0, "accept_s": 5.0, **limits}),
            sleep=self.pauses.append,
        )

    def order(self, key: str | None = None, **changes: Any) -> OrderRecord:
        return self.checkout.accept(self.checkout.begin(key), body(**changes))

    def order_and_wait(self, key: str | None = None) -> OrderRecord:
        ticket = self.checkout.begin(key)
        return self.checkout.end_of(ticket, self.checkout.accept(ticket, body()))


def test_an_order_is_priced_verified_accepted_and_ended() -> None:
    shop = Shop()
    record = shop.order_and_wait()
    assert (record.state, record.confirmation_code) == (OrderState.APPROVED, "OK-1")
    order = shop.queue.records[record.order_id].order
    assert order is not None
    assert order.items == (PricedItem("Book A", 1, 1000), PricedItem("Book B", 2, 250))
    assert (order.shipping_cents, order.amount_cents) == (499, 1999)
    assert (order.instrument, order.risk_score, order.suggested_books) == (INSTRUMENT, 7, (BOOK,))
    assert order.clock == {"orchestrator": 1}
    assert shop.queue.calls == ["enqueue", "get_order"]


def test_nothing_of_the_card_reaches_the_queue() -> None:
    shop = Shop()
    shop.order(discountCode="SPRING")
    kept = repr(shop.queue.records)
    assert "SPRING" in kept
    assert CARD_NUMBER not in kept
    assert CVV not in kept
    assert "ada@example.com" not in kept


def test_a_book_that_is_not_for_sale_is_verification_s_to_judge() -> None:
    shop = Shop(REJECTED)
    shop.order(items=[{"name": "Book A", "quantity": 1}, {"name": "Nobody wrote this", "quantity": 1}])
    (priced,) = shop.verifier.orders
    assert priced.unknown_titles == ("Nobody wrote this",)
    assert priced.items == (PricedItem("Book A", 1, 1000),)
    assert priced.request.items[1] == OrderItem("Nobody wrote this", 1)


def test_an_order_that_comes_to_too_much_is_refused() -> None:
    shop = Shop()
    shop.checkout._prices = FakePrices(**{"Book A": 10**9, "Book B": 1})
    with pytest.raises(RequestInvalid, match="more than can be paid"):
        shop.order(items=[{"name": "Book A", "quantity": 10_000}])
    assert shop.verifier.orders == []


@pytest.mark.parametrize("key", [None, "key"])
def test_a_rejection_is_kept_before_it_is_told(key: str | None) -> None:
    shop = Shop(REJECTED)
    record = shop.order(key)
    assert (record.state, record.reasons, record.risk_score) == (OrderState.REJECTED, REJECTED.reasons, 9)
    assert shop.queue.records == {record.order_id: record}
    assert "enqueue" not in shop.queue.calls


@pytest.mark.parametrize("error", [GONE, DeadlineExceeded("late"), ResourceExhausted("full")])
def test_a_rejection_with_a_key_is_not_told_unless_it_is_kept(error: Exception) -> None:
    shop = Shop(REJECTED)
    shop.queue.before = fail_first(1, "record_rejection", error)  # type: ignore[arg-type]
    with pytest.raises(ComponentUnavailable):
        shop.order("key")
    assert shop.order("key").reasons == REJECTED.reasons


def test_a_rejection_without_a_key_is_told_even_if_the_queue_is_away() -> None:
    shop = Shop(REJECTED)
    shop.queue.before = fail_first(1, "record_rejection", GONE)
    record = shop.order()
    assert (record.state, record.reasons, record.order) == (OrderState.REJECTED, REJECTED.reasons, None)


def test_what_could_not_be_verified_is_neither_accepted_nor_remembered() -> None:
    shop = Shop()
    shop.verifier.failure = ComponentUnavailable("fraud detection is away")
    with pytest.raises(ComponentUnavailable):
        shop.order("key")
    assert shop.queue.records == {}
    shop.verifier.failure = None
    assert shop.order("key").state is OrderState.PENDING


def test_an_order_is_carried_over_the_restart_of_a_service_that_verifies() -> None:
    shop = Shop()

    def is_back_after_a_second() -> None:
        gone = sum(shop.pauses) < 1
        shop.verifier.failure = ComponentUnavailable("fraud detection is away") if gone else None

    shop.verifier.meanwhile = is_back_after_a_second
    assert shop.order("key").state is OrderState.PENDING
    assert len(shop.verifier.orders) == 3


def test_a_service_that_stays_away_is_waited_for_while_enough_is_left_for_the_queue() -> None:
    # 3.5 s are kept: for a pause and a call to the queue.
    shop = Shop(accept_s=3.6)
    shop.verifier.failure = ComponentUnavailable("fraud detection is away")
    with pytest.raises(ComponentUnavailable):
        shop.order()
    assert len(shop.verifier.orders) > 1
    assert "enqueue" not in shop.queue.calls


@pytest.mark.parametrize("error", [GONE, DeadlineExceeded("late")])
def test_an_enqueue_of_unknown_outcome_is_sent_again_and_makes_one_order(error: Exception) -> None:
    shop = Shop()
    shop.queue.after = fail_first(2, "enqueue", error)  # type: ignore[arg-type]
    record = shop.order()
    assert shop.queue.calls == ["enqueue"] * 3
    assert list(shop.queue.records) == [record.order_id]
    assert len(shop.pauses) == 2


def test_an_enqueue_that_stays_unknown_is_told_as_that_with_the_order_s_id() -> None:
    shop = Shop(accept_s=0.05)
    shop.queue.after = fail_first(10**9, "enqueue", GONE)
    with pytest.raises(OrderUnconfirmed) as told:
        shop.order("key")
    assert told.value.status == 503
    assert told.value.retry_after_s
    assert list(shop.queue.records) == [told.value.order_id]
    assert "reject" not in told.value.message
    # The client repeats the request, as it was told: the order was there, and is not verified again.
    shop.queue.after = lambda _method, _number: None
    assert shop.order("key").order_id == told.value.order_id
    assert len(shop.verifier.orders) == 1


def test_a_full_queue_is_told_at_once() -> None:
    shop = Shop()
    shop.queue.before = fail_first(1, "enqueue", ResourceExhausted("full"))
    with pytest.raises(QueueFull):
        shop.order()
    assert shop.queue.calls == ["enqueue"]


def test_a_queue_that_fills_after_an_unknown_outcome_leaves_it_unknown() -> None:
    shop = Shop(accept_s=0.05)

    def lost_then_full(_method: str, number: int) -> None:
        raise GONE if number == 1 else ResourceExhausted("full")

    shop.queue.before = lost_then_full
    with pytest.raises(OrderUnconfirmed):
        shop.order()


def test_a_defect_of_ours_is_not_retried() -> None:
    shop = Shop()
    shop.queue.before = fail_first(1, "enqueue", InvalidArgument("what is this"))
    with pytest.raises(InvalidArgument):
        shop.order()
    assert shop.queue.calls == ["enqueue"]


def test_the_same_key_and_body_give_the_same_order_without_a_second_verification() -> None:
    shop = Shop()
    first = shop.order("key")
    assert shop.order("key") == first
    assert len(shop.verifier.orders) == 1
    assert shop.queue.calls.count("enqueue") == 1


def test_the_same_key_with_another_body_is_refused() -> None:
    shop = Shop()
    shop.order("key")
    with pytest.raises(KeyReused):
        shop.order("key", userComment="another")
    assert len(shop.queue.records) == 1


def test_without_a_key_each_request_is_an_order() -> None:
    shop = Shop()
    assert shop.order().order_id != shop.order().order_id


def test_with_a_key_nothing_is_verified_while_the_queue_is_away() -> None:
    shop = Shop()
    shop.queue.before = fail_first(1, "get_order", GONE)
    with pytest.raises(ComponentUnavailable):
        shop.order("key")
    assert shop.verifier.orders == []


@pytest.mark.parametrize(("theirs", "ours"), [(REJECTED, PASSED), (PASSED, REJECTED)], ids=["rejected", "accepted"])
def test_what_another_orchestrator_made_of_the_key_meanwhile_wins(theirs: Verdict, ours: Verdict) -> None:
    """One key at two orchestrators that verify it to opposite ends: whichever is second, both tell the same."""
    shop, other = Shop(ours), Shop(theirs)
    other.checkout._queue = shop.queue
    told: list[OrderRecord] = []
    shop.verifier.meanwhile = lambda: told.append(other.order("key"))
    assert [shop.order("key")] == told
    assert told[0].state is (OrderState.REJECTED if theirs.reasons else OrderState.PENDING)
    assert shop.queue.calls.count("enqueue") == shop.queue.calls.count("record_rejection") == 1
    assert other.order("key") == shop.order("key") == told[0]


def test_another_body_that_won_the_key_meanwhile_refuses_this_one() -> None:
    shop = Shop()
    ticket = shop.checkout.begin("key")
    theirs = OrderRecord(ticket.order_id, OrderState.PENDING, fingerprint=b"theirs")
    shop.verifier.meanwhile = lambda: shop.queue.records.update({ticket.order_id: theirs})
    with pytest.raises(KeyReused):
        shop.order("key")


def test_requests_with_one_key_at_the_same_time_are_one_order() -> None:
    shop = Shop()
    verifying, go_on = threading.Event(), threading.Event()

    def meanwhile() -> None:
        verifying.set()
        assert go_on.wait(5)

    shop.verifier.meanwhile = meanwhile
    with ThreadPoolExecutor(6) as clients:
        first = clients.submit(shop.order, "key")
        assert verifying.wait(5)
        others = [clients.submit(shop.order, "key") for _ in range(4)]
        other_body = clients.submit(shop.order, "key", userComment="another")
        with pytest.raises(KeyReused):
            other_body.result(5)
        assert not any(other.done() for other in others)
        go_on.set()
        assert {future.result(5).order_id for future in (first, *others)} == {first.result().order_id}
    assert len(shop.verifier.orders) == 1
    assert shop.queue.calls.count("enqueue") == 1


def test_waiting_goes_on_while_the_queue_changes_its_leader() -> None:
    shop = Shop()
    shop.queue.before = fail_first(3, "get_order", GONE)
    assert shop.order_and_wait().state is OrderState.APPROVED
    assert len(shop.pauses) == 3


def test_an_order_that_does_not_end_in_time_is_pending() -> None:
    shop = Shop(wait_s=0.05)
    shop.queue.on_wait = lambda record: None  # type: ignore[method-assign]
    assert shop.order_and_wait().state is OrderState.PENDING


def test_an_accepted_order_is_pending_also_if_the_queue_is_gone_for_good() -> None:
    shop = Shop(wait_s=0.05)
    shop.queue.before = fail_first(10**9, "get_order", GONE)
    assert shop.order_and_wait().state is OrderState.PENDING


def test_one_more_than_may_wait_is_told_at_once_that_it_is_pending() -> None:
    shop = Shop(waiting_max=1)
    waiting, go_on = threading.Event(), threading.Event()

    def on_wait(record: OrderRecord) -> None:
        waiting.set()
        assert go_on.wait(5)
        shop.queue.end(record.order_id, OrderState.APPROVED)

    shop.queue.on_wait = on_wait  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as client:
        first = client.submit(shop.order_and_wait)
        assert waiting.wait(5)
        second = shop.order_and_wait()
        assert second.state is OrderState.PENDING
        assert shop.checkout.order(second.order_id, wait_s=5.0).state is OrderState.PENDING
        go_on.set()
        assert first.result(5).state is OrderState.APPROVED
    assert shop.checkout.order(second.order_id, wait_s=5.0).state is OrderState.APPROVED


@pytest.mark.parametrize("order_id", ["", "x", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n", "../" + "0" * 29])
def test_a_malformed_id_is_unknown_and_reaches_nobody(order_id: str) -> None:
    shop = Shop()
    with pytest.raises(OrderNotFound):
        shop.checkout.order(order_id, wait_s=0)
    assert shop.queue.calls == []


def test_an_unknown_order_is_not_found_and_a_queue_that_is_away_is_unavailable() -> None:
    shop = Shop()
    with pytest.raises(OrderNotFound):
        shop.checkout.order("0" * 32, wait_s=0)
    shop.queue.before = fail_first(2, "get_order", GONE)
    with pytest.raises(ComponentUnavailable):
        shop.checkout.order("0" * 32, wait_s=0)


def test_a_ticket_knows_whether_it_can_be_repeated() -> None:
    shop = Shop()
    tickets: list[Ticket] = [shop.checkout.begin(None), shop.checkout.begin("key")]
    assert [ticket.keyed for ticket in tickets] == [False, True]
