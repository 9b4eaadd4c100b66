"""Judges a run: what the system holds must be what its clients were told, and they must never have been told lies.

Expectations come from the clients' log alone. Each function below looks for some violations.
"""

import enum
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property

import msgspec

from tests.chaos.evidence import Evidence
from tests.chaos.history import APPROVED, PENDING, REJECTED, Exchange, History, Means, Route

END_S_MAX = 30.0


class Rule(enum.StrEnum):
    """What can be violated, as the violation reads."""

    LOST = "an accepted order has no end"
    LATE = "an accepted order ended later than 30 s after healing"
    FORGOTTEN = "an accepted order was said not to exist"
    UNANSWERED = "a client never learned what became of its request"
    REOPENED = "an order was pending after its end had been told"
    CONTRADICTED = "an order's end was told in two ways"
    TWO_ORDERS = "one key gave two orders"
    MISANSWERED = "an answer that such a request must not get"
    WRONG_AMOUNT = "an order has another amount than its items"
    BLAMED = "an order was rejected for a reason that is not its own"
    UNDESERVED = "an order was approved that should have been rejected"
    OVERSOLD = "more copies were sold than there were"
    STOCK = "the stock is not what it was less what was sold, and more what was put back"
    RESERVED = "a reservation is left"
    HELD = "a hold is left"
    NOT_CHARGED = "an approved order has no capture"
    CHARGED_TWICE = "an order was captured more than once"
    CHARGED_WRONGLY = "a capture differs from its order"
    CHARGED_FOR_NOTHING = "a capture has no approved order"
    NOT_REFUNDED = "a refund that was asked for is not done"
    REFUNDED_FOR_NOTHING = "an order was refunded that nobody asked for"
    REFUND_CONTRADICTED = "a refund was told in two ways"
    NOT_RECORDED = "an ended order has no record"
    RECORDED_WRONGLY = "a record differs from its order"
    RECORDED_STRANGER = "a record of an order that no client was told of"


LOSSES = (Rule.LOST, Rule.FORGOTTEN)
OVERSALES = (Rule.OVERSOLD,)
DOUBLE_CHARGES = (Rule.CHARGED_TWICE,)


class Violation(msgspec.Struct, frozen=True):
    rule: Rule
    # The order's id, the purchase's key or a title.
    subject: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}" + (f" ({self.detail})" if self.detail else "")


def check(history: History, evidence: Evidence) -> list[Violation]:
    """Every violation of the run."""
    case = _Case(history, evidence)
    looks: tuple[Callable[[_Case], Iterator[Violation]], ...] = (
        _answers_make_sense,
        _every_purchase_is_settled,
        _a_key_has_one_order_and_one_end,
        _what_was_kept_stays_kept,
        _ends_are_deserved,
        _amounts_are_frozen,
        _stock_adds_up,
        _nothing_is_left_undecided,
        _each_approved_order_is_charged_once,
        _refunds_are_done_once,
        _records_agree,
    )
    return [violation for look in looks for violation in look(case)]


class _Case:
    """The log, sorted by purchase; and what the clients know at the end."""

    def __init__(self, history: History, evidence: Evidence) -> None:
        self.history = history
        self.evidence = evidence
        self.exchanges: dict[str, list[Exchange]] = defaultdict(list)
        for exchange in sorted(history.exchanges, key=lambda exchange: exchange.answered_at_s):
            self.exchanges[exchange.key].append(exchange)
        self.order_ids = {
            key: exchange.order_id for key, found in self.exchanges.items() for exchange in found if exchange.order_id
        }
        self.keys = {order_id: key for key, order_id in self.order_ids.items()}

    @cached_property
    def ends(self) -> dict[str, Exchange]:
        """The most telling answer of each purchase that names its end: one with a confirmation code, if there is."""
        ends: dict[str, Exchange] = {}
        for key, exchanges in self.exchanges.items():
            for exchange in exchanges:
                if exchange.end and (key not in ends or exchange.amount_cents is not None):
                    ends[key] = exchange
        return ends

    def approved(self) -> Iterator[tuple[str, Exchange]]:
        return ((key, end) for key, end in self.ends.items() if end.end == APPROVED)


def _answers_make_sense(case: _Case) -> Iterator[Violation]:
    for key, exchanges in case.exchanges.items():
        means = case.history.purchases[key].means
        for exchange in exchanges:
            if not _makes_sense(exchange, means):
                detail = f"{exchange.route}: {exchange.http_status} {exchange.error_code} {exchange.order_status}"
                yield Violation(Rule.MISANSWERED, key, detail)


def _makes_sense(exchange: Exchange, means: Means) -> bool:
    match exchange.http_status:
        case 0:
            return True
        case 200:
            allowed = {
                Route.CHECKOUT: (APPROVED, REJECTED),
                Route.CHECKOUT_V2: (PENDING,),
                Route.ORDER: (PENDING, APPROVED, REJECTED),
            }[exchange.route]
            return exchange.order_status in allowed and bool(exchange.order_id)
        case 400:
            refused = exchange.route is Route.CHECKOUT_V2 and exchange.error_code == "order_rejected"
            return refused and means is Means.EXPIRED_CARD
        case 503:
            return exchange.error_code in ("unavailable", "queue_full", "order_unconfirmed", "not_ready")
        case 504:
            return exchange.route is Route.CHECKOUT and exchange.error_code == "order_pending"
        case 404:
            # Judged with what the client had been told before.
            return exchange.route is Route.ORDER
        case _:
            return False


def _every_purchase_is_settled(case: _Case) -> Iterator[Violation]:
    for key in case.history.purchases:
        exchanges = case.exchanges[key]
        end = next((exchange for exchange in exchanges if exchange.end), None)
        if end is not None:
            delay_s = end.answered_at_s - case.history.healed_at_s
            if delay_s > END_S_MAX and any(
                exchange.accepted and exchange.answered_at_s < case.history.healed_at_s for exchange in exchanges
            ):
                yield Violation(Rule.LATE, case.order_ids.get(key, key), f"{delay_s:.1f} s")
        elif any(exchange.accepted for exchange in exchanges):
            yield Violation(Rule.LOST, case.order_ids.get(key, key))
        elif not all(exchange.nothing_ordered for exchange in exchanges):
            yield Violation(Rule.UNANSWERED, key, f"{len(exchanges)} requests")


def _a_key_has_one_order_and_one_end(case: _Case) -> Iterator[Violation]:
    for key, exchanges in case.exchanges.items():
        order_ids = {exchange.order_id for exchange in exchanges if exchange.order_id}
        if len(order_ids) > 1:
            yield Violation(Rule.TWO_ORDERS, key, ", ".join(sorted(order_ids)))
        ends = {
            (exchange.end, exchange.reason_codes, exchange.confirmation_code) for exchange in exchanges if exchange.end
        }
        if len(ends) > 1:
            yield Violation(Rule.CONTRADICTED, case.order_ids.get(key, key), "; ".join(map(str, sorted(ends))))


def _what_was_kept_stays_kept(case: _Case) -> Iterator[Violation]:
    """Reads are linearizable: what was answered before a request was sent holds for its answer."""
    for key, exchanges in case.exchanges.items():
        kept_at_s = min((exchange.answered_at_s for exchange in exchanges if exchange.accepted), default=float("inf"))
        ended_at_s = min((exchange.answered_at_s for exchange in exchanges if exchange.end), default=float("inf"))
        for exchange in exchanges:
            if exchange.route is not Route.ORDER:
                continue
            if exchange.http_status == 404 and exchange.sent_at_s >= kept_at_s:
                yield Violation(Rule.FORGOTTEN, exchange.order_id or case.order_ids.get(key, key))
            if exchange.order_status == PENDING and exchange.sent_at_s >= ended_at_s:
                yield Violation(Rule.REOPENED, exchange.order_id)


def _ends_are_deserved(case: _Case) -> Iterator[Violation]:
    """Means of payment decide, and copies: none comes back, so an edition that could not be had is gone at the end."""
    for key, end in case.ends.items():
        purchase = case.history.purchases[key]
        if end.end == APPROVED:
            if purchase.means is not Means.CARD:
                yield Violation(Rule.UNDESERVED, end.order_id, purchase.means)
            continue
        sold_out = any(
            title in case.evidence.shelf and case.evidence.shelf[title].copies < quantity
            for title, quantity in purchase.items.items()
        )
        for code in end.reason_codes or ("no reason",):
            own = {
                "out_of_stock": sold_out and purchase.means is not Means.EXPIRED_CARD,
                "payment_declined": purchase.means is Means.BANK_TRANSFER,
                "card_expired": purchase.means is Means.EXPIRED_CARD,
            }
            if not own.get(code, False):
                yield Violation(Rule.BLAMED, end.order_id, f"{purchase.means}: {code}")


def _amounts_are_frozen(case: _Case) -> Iterator[Violation]:
    for key, exchanges in case.exchanges.items():
        amount_cents = case.history.purchases[key].amount_cents
        wrong = {exchange.amount_cents for exchange in exchanges} - {None, amount_cents}
        for told in wrong:
            yield Violation(Rule.WRONG_AMOUNT, case.order_ids.get(key, key), f"{told} instead of {amount_cents}")


def _stock_adds_up(case: _Case) -> Iterator[Violation]:
    sold: Counter[str] = Counter()
    for key, _ in case.approved():
        sold.update(case.history.purchases[key].items)
    for order_id, refund in case.history.refunds.items():
        if refund.restock:
            sold.subtract(case.history.purchases[case.keys[order_id]].items)
    for title, initial in case.history.initial_stock.items():
        shelved = case.evidence.shelf.get(title)
        copies = shelved.copies if shelved else 0
        if sold[title] > initial or copies < 0:
            yield Violation(Rule.OVERSOLD, title, f"{sold[title]} of {initial}")
        if initial != copies + sold[title]:
            yield Violation(Rule.STOCK, title, f"{initial} at first, {sold[title]} sold, {copies} left")


def _nothing_is_left_undecided(case: _Case) -> Iterator[Violation]:
    for order_id in case.evidence.reservations:
        yield Violation(Rule.RESERVED, order_id)
    for title, shelved in case.evidence.shelf.items():
        if shelved.reserved:
            yield Violation(Rule.RESERVED, title, f"{shelved.reserved} copies")
    for order_id in case.evidence.holds:
        yield Violation(Rule.HELD, order_id)


def _each_approved_order_is_charged_once(case: _Case) -> Iterator[Violation]:
    approved = {end.order_id: (key, end) for key, end in case.approved()}
    times = Counter(capture.order_id for capture in case.evidence.captures)
    for order_id in approved.keys() - times.keys():
        yield Violation(Rule.NOT_CHARGED, order_id)
    for order_id, count in times.items():
        if count > 1:
            yield Violation(Rule.CHARGED_TWICE, order_id, f"{count} captures")
    for capture in case.evidence.captures:
        if capture.order_id not in approved:
            known = "rejected or open" if capture.order_id in case.keys else "no client was told of it"
            yield Violation(Rule.CHARGED_FOR_NOTHING, capture.order_id, known)
            continue
        key, end = approved[capture.order_id]
        amount_cents = case.history.purchases[key].amount_cents
        if capture.amount_cents != amount_cents:
            detail = f"{capture.amount_cents} cents instead of {amount_cents}"
            yield Violation(Rule.CHARGED_WRONGLY, capture.order_id, detail)
        if capture.confirmation_code != end.confirmation_code:
            detail = f"{capture.confirmation_code}, and the client has {end.confirmation_code}"
            yield Violation(Rule.CHARGED_WRONGLY, capture.order_id, detail)


def _refunds_are_done_once(case: _Case) -> Iterator[Violation]:
    """That copies were put back once, the stock tells."""
    refunds = case.history.refunds
    for capture in case.evidence.captures:
        if capture.refund_code and capture.order_id not in refunds:
            yield Violation(Rule.REFUNDED_FOR_NOTHING, capture.order_id, capture.refund_code)
    done = {capture.order_id: capture.refund_code for capture in case.evidence.captures}
    recorded = {record.order_id: record.refund_code for record in case.evidence.records}
    for order_id, refund in refunds.items():
        codes = {done.get(order_id, ""), recorded.get(order_id, ""), *refund.codes}
        if not refund.codes or "" in codes:
            yield Violation(Rule.NOT_REFUNDED, order_id, ", ".join(sorted(codes)))
        elif len(codes) > 1:
            yield Violation(Rule.REFUND_CONTRADICTED, order_id, ", ".join(sorted(codes)))


def _records_agree(case: _Case) -> Iterator[Violation]:
    records = {record.order_id: record for record in case.evidence.records}
    for key, end in case.ends.items():
        order_id = case.order_ids.get(key, "")
        record = records.pop(order_id, None)
        if record is None:
            yield Violation(Rule.NOT_RECORDED, order_id or key)
            continue
        purchase = case.history.purchases[key]
        verified = purchase.means is not Means.EXPIRED_CARD
        expected = (
            "approved" if end.end == APPROVED else "rejected",
            purchase.amount_cents if verified else None,
            purchase.items if verified else None,
            end.confirmation_code,
        )
        found = (record.state, record.amount_cents, record.items, record.confirmation_code)
        if found != expected:
            yield Violation(Rule.RECORDED_WRONGLY, order_id, f"{found} instead of {expected}")
    for order_id in records.keys() - case.keys.keys():
        yield Violation(Rule.RECORDED_STRANGER, order_id)
