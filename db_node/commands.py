"""What the nodes of the database agree on, one after another, and what each command returns."""

import enum

import msgspec

from utils.clocks.story import PackedClock, Story
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_log import Command as DecisionCommand
from utils.two_phase_commit.fenced_log import Epoch
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Vote

Value = int | str


class RequestId(msgspec.Struct, frozen=True):
    """The nth request of a client, so that a repeated one is recognised."""

    client_id: str
    sequence: int


class Write(msgspec.Struct, frozen=True, tag=True):
    key: str
    value: Value
    # None: always. 0: only if the key was never written.
    expected_version: int | None
    request_id: RequestId


class DecrementStock(msgspec.Struct, frozen=True, tag=True):
    title: str
    quantity: int
    request_id: RequestId


class Seed(msgspec.Struct, frozen=True, tag=True):
    """First values; a key that was ever written keeps its own."""

    integers: dict[str, int]


class OrderedCopies(msgspec.Struct, frozen=True):
    """What an attempt needs of the stock: copies by title, the items of one title summed."""

    attempt: Attempt
    position: int
    quantities: dict[str, int]
    clock: PackedClock = b""


class Prepare(msgspec.Struct, frozen=True, tag=True):
    orders: tuple[OrderedCopies, ...]
    finished_below: int


class Decide(msgspec.Struct, frozen=True, tag=True):
    decisions: tuple[Decision, ...]


class Restock(msgspec.Struct, frozen=True, tag=True):
    """An operator takes a committed order back: its copies return to the shelf, once for each order id."""

    order_id: str
    position: int
    # By title, the items of one title summed.
    quantities: dict[str, int]
    clock: PackedClock = b""


class RaiseEpoch(msgspec.Struct, frozen=True, tag=True):
    """A node starts to lead the executors: compare-and-set of their epoch."""

    expected_number: int
    node_id: str
    incarnation: str


class RecordDecisions(msgspec.Struct, frozen=True, tag=True):
    """Of the executors' leader, if the epoch is still its own."""

    epoch: Epoch
    commands: tuple[DecisionCommand, ...]


Command = Write | DecrementStock | Seed | Prepare | Decide | Restock | RaiseEpoch | RecordDecisions


class Written(msgspec.Struct, frozen=True, tag=True):
    version: int


class StockLeft(msgspec.Struct, frozen=True, tag=True):
    stock: int
    version: int


class Restocked(msgspec.Struct, frozen=True, tag=True):
    """The same for the same order, also when it was done before."""

    story: Story


class RefusalReason(enum.StrEnum):
    KEY_UNKNOWN = "key_unknown"
    VERSION_CONFLICT = "version_conflict"
    WRONG_VALUE = "wrong_value"
    TOO_FEW_COPIES = "too_few_copies"
    FULL = "full"
    REQUEST_FORGOTTEN = "request_forgotten"
    TOO_MANY_COPIES = "too_many_copies"
    NOT_COMMITTED = "not_committed"


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Nothing was changed."""

    reason: RefusalReason
    message: str


WriteResult = Written | StockLeft | Refusal
# None in place of a decision: the order has none.
Recorded = tuple[OrderDecision | None, ...]
Result = WriteResult | Restocked | tuple[Vote, ...] | tuple[Acknowledgement, ...] | Epoch | Recorded | None
