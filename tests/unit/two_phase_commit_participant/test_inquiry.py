"""A participant in doubt asks about its exact attempts, and carries out what it hears."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from tests.unit.two_phase_commit_participant.words import abort, attempt, commit
from utils.pb import two_phase_commit_pb2 as pb, two_phase_commit_pb2_grpc
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import NotLeader, Unavailable
from utils.rpc.server import RpcServer
from utils.two_phase_commit.convert import attempt_from_proto, resolution_to_proto
from utils.two_phase_commit.io.inquiry import InDoubtInquiry
from utils.two_phase_commit.messages import Attempt, Decision, Resolution, ResolutionKind

IN_DOUBT_S = 0.1


class Coordinator(two_phase_commit_pb2_grpc.CoordinatorServiceServicer):
    """Knows what it is told; everything else is undecided."""

    def __init__(self) -> None:
        self.known: dict[Attempt, ResolutionKind] = {}
        self.asked: asyncio.Queue[list[Attempt]] = asyncio.Queue()
        self.error: Exception | None = None

    async def Resolve(self, request: pb.ResolveRequest, context: Any) -> pb.ResolveResponse:
        attempts = [attempt_from_proto(message) for message in request.attempts]
        self.asked.put_nowait(attempts)
        if self.error is not None:
            raise self.error
        kinds = [self.known.get(of, ResolutionKind.UNDECIDED) for of in attempts]
        resolutions = [Resolution(of, kind) for of, kind in zip(attempts, kinds, strict=True)]
        return pb.ResolveResponse(resolutions=[resolution_to_proto(resolution) for resolution in resolutions])


class Doubter:
    """A participant that carries decisions out at once."""

    def __init__(self, *in_doubt: Attempt) -> None:
        self.in_doubt = list(in_doubt)
        self.decided: list[Decision] = []
        self.progress = asyncio.Event()
        self.errors: list[Exception] = []

    async def carry_out(self, decisions: Sequence[Decision]) -> None:
        if self.errors:
            raise self.errors.pop()
        self.decided += decisions
        for decision in decisions:
            self.in_doubt.remove(decision.attempt)
        self.progress.set()


@pytest.fixture
async def coordinator() -> AsyncIterator[tuple[Coordinator, ClusterChannel]]:
    servicer = Coordinator()
    server = RpcServer("127.0.0.1:0", node_id="order_executor_1")
    two_phase_commit_pb2_grpc.add_CoordinatorServiceServicer_to_server(servicer, server)  # type: ignore[arg-type]
    await server.start()
    channel = ClusterChannel([f"127.0.0.1:{server.port}"])
    yield servicer, channel
    await channel.close()
    await server.stop(grace_s=0)


@contextlib.asynccontextmanager
async def asking(doubter: Doubter, channel: ClusterChannel) -> AsyncIterator[None]:
    inquiry = InDoubtInquiry(
        channel, in_doubt=lambda: doubter.in_doubt, decide=doubter.carry_out, in_doubt_s=IN_DOUBT_S
    )
    task = asyncio.create_task(inquiry.run())
    try:
        async with asyncio.timeout(20):
            yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_it_carries_out_what_it_hears(coordinator: tuple[Coordinator, ClusterChannel]) -> None:
    servicer, channel = coordinator
    servicer.known = {
        attempt(order=1): ResolutionKind.COMMITTED,
        attempt(order=2): ResolutionKind.ABORTED,
    }
    doubter = Doubter(attempt(order=1), attempt(order=2), attempt(order=3))
    async with asking(doubter, channel):
        await doubter.progress.wait()
    assert set(doubter.decided) == {commit(attempt(order=1)), abort(attempt(order=2))}
    assert doubter.in_doubt == [attempt(order=3)], "an undecided attempt is left alone"


async def test_it_asks_again_about_what_is_undecided(coordinator: tuple[Coordinator, ClusterChannel]) -> None:
    servicer, channel = coordinator
    doubter = Doubter(attempt())
    async with asking(doubter, channel):
        assert await servicer.asked.get() == [attempt()]
        assert doubter.decided == []
        servicer.known = {attempt(): ResolutionKind.ABORTED}
        assert await servicer.asked.get() == [attempt()]
        await doubter.progress.wait()
    assert doubter.decided == [abort(attempt())]


async def test_it_does_not_ask_before_an_attempt_is_in_doubt_for_long(
    coordinator: tuple[Coordinator, ClusterChannel],
) -> None:
    servicer, channel = coordinator
    doubter = Doubter(attempt())
    started_at = asyncio.get_running_loop().time()
    async with asking(doubter, channel):
        await servicer.asked.get()
        assert asyncio.get_running_loop().time() - started_at >= IN_DOUBT_S


@pytest.mark.parametrize("error", [Unavailable("away"), NotLeader("a follower")])
async def test_it_goes_on_asking_while_nobody_can_answer(
    coordinator: tuple[Coordinator, ClusterChannel], error: Exception
) -> None:
    servicer, channel = coordinator
    servicer.error = error
    servicer.known = {attempt(): ResolutionKind.COMMITTED}
    doubter = Doubter(attempt())
    async with asking(doubter, channel):
        await servicer.asked.get()
        assert doubter.decided == []
        servicer.error = None
        await doubter.progress.wait()
    assert doubter.decided == [commit(attempt())]


async def test_a_decision_that_cannot_be_carried_out_is_asked_for_again(
    coordinator: tuple[Coordinator, ClusterChannel],
) -> None:
    servicer, channel = coordinator
    servicer.known = {attempt(): ResolutionKind.COMMITTED}
    doubter = Doubter(attempt())
    doubter.errors = [Unavailable("no majority")]
    async with asking(doubter, channel):
        await doubter.progress.wait()
    assert doubter.decided == [commit(attempt())]
    assert servicer.asked.qsize() >= 2
