"""DatabaseService and the primary's part in two-phase commit, over a stand-in for consensus."""

import asyncio
from typing import Any

import pytest

from db_node.freshness import Freshness
from db_node.node import seed
from db_node.replicated_participant import ReplicatedParticipant
from db_node.servicer import DatabaseServicer
from tests.unit.db_node.fake_consensus import FakeConsensus
from tests.unit.db_node.words import Database
from tests.unit.two_phase_commit_participant.words import attempt, commit, compensation, transaction
from utils.catalogue import load_catalogue
from utils.clocks.story import unpack
from utils.pb import database_pb2 as pb, two_phase_commit_pb2
from utils.raft.errors import OutcomeUnknownError, ProposalDroppedError, ProposalRefusedError, RaftError
from utils.rpc.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotLeader,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from utils.two_phase_commit import convert
from utils.two_phase_commit.io.participant_servicer import BATCH_MAX, ParticipantServicer
from utils.two_phase_commit.messages import VoteKind

LINEARIZABLE, STALE = pb.CONSISTENCY_LINEARIZABLE, pb.CONSISTENCY_STALE


class Context:
    def time_remaining(self) -> float:
        return 5.0


class Primary(DatabaseServicer):
    """Over one machine; `consensus` says whether it is one."""

    def __init__(self) -> None:
        self.db = Database()
        self.consensus = FakeConsensus(self.db)
        self.freshness = Freshness(self.consensus)
        self.participant = ReplicatedParticipant(self.consensus)
        super().__init__(self.consensus, self.db, self.freshness)
        self._sequence = 0

    def request_id(self) -> pb.RequestId:
        self._sequence += 1
        return pb.RequestId(client_id="test", sequence=self._sequence)

    async def read(self, key: str, consistency: pb.Consistency.ValueType = LINEARIZABLE) -> pb.ReadResponse:
        return await self.Read(pb.ReadRequest(key=key, consistency=consistency), Context())

    async def write(self, key: str, value: Any, **arguments: Any) -> int:
        kind = pb.Value(integer=value) if isinstance(value, int) else pb.Value(text=value)
        arguments.setdefault("request_id", self.request_id())
        return (await self.Write(pb.WriteRequest(key=key, value=kind, **arguments), Context())).version

    async def decrement(self, book: str, quantity: int) -> pb.DecrementStockResponse:
        request = pb.DecrementStockRequest(book=book, quantity=quantity, request_id=self.request_id())
        return await self.DecrementStock(request, Context())


@pytest.fixture
def primary() -> Primary:
    return Primary()


async def test_what_is_written_is_read(primary: Primary) -> None:
    assert await primary.write("motd", "hello") == 1
    assert await primary.write("price:Book A", 2**62) == 2
    response = await primary.read("motd")
    assert (response.entry.value.text, response.entry.version, response.stale_ms) == ("hello", 1, 0)
    assert (await primary.read("price:Book A")).entry.value.integer == 2**62
    with pytest.raises(NotFound):
        await primary.read("unheard of")


async def test_zero_is_a_version_to_expect(primary: Primary) -> None:
    with pytest.raises(FailedPrecondition):
        await primary.write("price:Book A", 1, expected_version=0)
    assert await primary.write("price:Book A", 1, expected_version=1) == 2


async def test_a_write_without_request_id_or_value_is_refused(primary: Primary) -> None:
    for request_id in (pb.RequestId(), pb.RequestId(client_id="x"), pb.RequestId(sequence=1)):
        with pytest.raises(InvalidArgument, match="request_id"):
            await primary.write("motd", "x", request_id=request_id)
    with pytest.raises(InvalidArgument, match="value"):
        await primary.Write(pb.WriteRequest(key="motd", request_id=primary.request_id()), Context())
    for key in ("", "k" * 1_000):
        with pytest.raises(InvalidArgument, match="key"):
            await primary.write(key, 1)
    with pytest.raises(InvalidArgument, match="text"):
        await primary.write("motd", "x" * 5_000)
    assert primary.consensus.commands == []


async def test_an_unknown_consistency_is_refused(primary: Primary) -> None:
    consistency: Any = 7
    with pytest.raises(InvalidArgument, match="consistency 7"):
        await primary.read("stock:Book A", consistency)
    with pytest.raises(InvalidArgument, match="consistency 7"):
        await primary.ReadAll(pb.ReadAllRequest(consistency=consistency), Context())


async def test_decrement_says_what_is_left(primary: Primary) -> None:
    response = await primary.decrement("Book A", 3)
    assert (response.stock, response.version) == (7, 2)
    with pytest.raises(FailedPrecondition):
        await primary.decrement("Book A", 8)
    with pytest.raises(NotFound):
        await primary.decrement("unheard of", 1)
    with pytest.raises(InvalidArgument):
        await primary.decrement("Book A", 0)
    with pytest.raises(InvalidArgument):
        await primary.write("stock:Book A", -1)


async def test_a_replica_names_the_primary(primary: Primary) -> None:
    primary.consensus.lose_leadership()
    for call in (
        primary.write("motd", "x"),
        primary.decrement("Book A", 1),
        primary.read("price:Book A"),
        primary.participant.prepare([transaction(attempt())], 0, timeout_s=5),
        primary.participant.decide([commit(attempt())], timeout_s=5),
    ):
        with pytest.raises(NotLeader) as raised:
            await call
        assert raised.value.leader_address == "db-node2:50052"
    assert primary.db.in_doubt == ()


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (OutcomeUnknownError("deposed"), Unavailable),
        (ProposalDroppedError("replaced"), Unavailable),
        (ProposalRefusedError("too many"), ResourceExhausted),
    ],
)
async def test_no_vote_leaves_that_the_cluster_has_not_committed(
    primary: Primary, failure: RaftError, expected: type[ServiceError]
) -> None:
    primary.consensus.failures = [failure]
    with pytest.raises(expected):
        await primary.participant.prepare([transaction(attempt())], 0, timeout_s=5)
    assert primary.db.in_doubt == ()


async def test_a_vote_waits_for_the_majority(primary: Primary) -> None:
    primary.consensus.majority.clear()
    vote = asyncio.create_task(primary.participant.prepare([transaction(attempt())], 0, timeout_s=5))
    await asyncio.sleep(0)
    assert len(primary.consensus.commands) == 1
    assert not vote.done()
    primary.consensus.majority.set()
    assert [answer.kind for answer in await vote] == [VoteKind.COMMIT]


async def test_what_became_committed_all_the_same_gets_the_same_vote(primary: Primary) -> None:
    primary.consensus.failures = [OutcomeUnknownError("deposed")]
    primary.consensus.applied_anyway = True
    with pytest.raises(Unavailable):
        await primary.participant.prepare([transaction(attempt())], 0, timeout_s=5)
    votes = await primary.participant.prepare([transaction(attempt())], 0, timeout_s=5)
    assert [vote.kind for vote in votes] == [VoteKind.COMMIT]
    assert primary.db.stock("Book A") == (10, 1, 1)


async def test_an_order_that_names_a_book_twice_needs_the_sum(primary: Primary) -> None:
    twice = transaction(attempt(order=1), ("Book B", 1), ("Book A", 1), ("Book B", 1))
    thrice = transaction(attempt(order=2), ("Book B", 2), ("Book B", 1))
    votes = await primary.participant.prepare([twice, thrice], 0, timeout_s=5)
    assert [vote.kind for vote in votes] == [VoteKind.COMMIT, VoteKind.ABORT]
    assert primary.db.reservation(attempt().order_id) == {"Book B": 2, "Book A": 1}


async def test_the_log_keeps_nothing_of_the_payment(primary: Primary) -> None:
    await primary.participant.prepare([transaction(attempt())], 0, timeout_s=5)
    (command,) = primary.consensus.commands
    assert b"1111" not in command
    assert b"visa" not in command


@pytest.mark.parametrize("size", [0, BATCH_MAX + 1])
async def test_a_call_holds_a_bounded_number_of_orders(primary: Primary, size: int) -> None:
    servicer = ParticipantServicer(primary.participant)
    request = two_phase_commit_pb2.DecideRequest(decisions=[two_phase_commit_pb2.Decision()] * size)
    with pytest.raises(InvalidArgument, match="a call holds"):
        await servicer.Decide(request, Context())


async def test_read_all_goes_in_pages(primary: Primary) -> None:
    first = await primary.ReadAll(pb.ReadAllRequest(prefix="stock:", max_entries=1), Context())
    assert ([entry.key for entry in first.entries], first.more, first.stale_ms) == (["stock:Book A"], True, 0)
    request = pb.ReadAllRequest(prefix="stock:", max_entries=1, after_key="stock:Book A")
    second = await primary.ReadAll(request, Context())
    assert ([entry.key for entry in second.entries], second.more) == (["stock:Book B"], False)


async def test_status_shows_reservations(primary: Primary) -> None:
    primary.db.prepare(attempt(2, epoch=3), Book_B=2)
    status = await primary.GetDatabaseStatus(pb.GetDatabaseStatusRequest(), Context())
    assert (status.node_id, status.is_primary, status.primary_id, status.keys) == ("db-node1", True, "db-node1", 3)
    (reservation,) = status.reservations
    assert (reservation.epoch, reservation.number, reservation.book, reservation.quantity) == (3, 2, "Book B", 2)
    assert not status.HasField("stale_ms")


async def test_a_stale_read_says_how_old_it_can_be(primary: Primary) -> None:
    assert not (await primary.read("stock:Book A", STALE)).HasField("stale_ms"), "nothing was measured"
    with pytest.raises(Unavailable):
        await primary.read("unheard of", STALE)
    await primary.freshness.measure()
    response = await primary.read("stock:Book A", STALE)
    assert response.HasField("stale_ms")
    assert response.stale_ms < 5_000
    with pytest.raises(NotFound):
        await primary.read("unheard of", STALE)
    primary.consensus.lose_leadership()
    assert (await primary.read("stock:Book A", STALE)).entry.value.integer == 10


async def test_a_deposed_primary_grows_no_fresher(primary: Primary) -> None:
    primary.consensus.failures = [OutcomeUnknownError("cut off")]
    with pytest.raises(OutcomeUnknownError):
        await primary.freshness.measure()
    assert primary.freshness.stale_ms is None


async def test_the_catalogue_is_seeded_by_the_primary_once() -> None:
    primary = Primary()
    books = load_catalogue()
    primary.consensus.lose_leadership()
    seeding = asyncio.create_task(seed(primary.consensus, primary.db, books))
    await asyncio.sleep(0)
    assert primary.consensus.commands == []
    primary.consensus.failures = [OutcomeUnknownError("deposed")]
    primary.consensus.win_leadership()
    async with asyncio.timeout(10):
        await seeding
    assert len(primary.consensus.commands) == 2, "it tries again, and then no more"
    assert primary.db.stock("Book A") == (10, 0, 1), "what was written keeps its value"
    for book in books:
        assert primary.db.get(f"price:{book.title}") is not None
        if book.title not in ("Book A", "Book B"):
            assert primary.db.stock(book.title) == (book.stock, 0, 1)
    await seed(primary.consensus, primary.db, books)
    assert len(primary.consensus.commands) == 2


async def test_copies_return_through_the_log_and_only_those_that_were_sold() -> None:
    primary = Primary()
    await primary.participant.prepare([transaction(attempt(), ("Book A", 2), ("Book A", 1))], 0, timeout_s=5)
    participant = ParticipantServicer(primary.participant)
    request = convert.compensation_to_proto(compensation(("Book A", 2), ("Book A", 1)))
    with pytest.raises(FailedPrecondition) as raised:
        await participant.Compensate(request, Context())
    assert raised.value.metadata == {"reason": "not_committed"}
    await primary.participant.decide([commit(attempt())], timeout_s=5)
    # The first answer is lost.
    primary.consensus.failures, primary.consensus.applied_anyway = [OutcomeUnknownError("?")], True
    with pytest.raises(Unavailable):
        await participant.Compensate(request, Context())
    response = await participant.Compensate(request, Context())
    assert [unpack(event).name for event in response.story] == ["restocked"]
    assert primary.db.stock("Book A") == (10, 0, 3)
    primary.consensus.lose_leadership()
    with pytest.raises(NotLeader):
        await participant.Compensate(request, Context())
