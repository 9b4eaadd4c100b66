"""Payment as a process of its own, and an executor that knows what a test tells it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support.raft_cluster import free_ports
from utils.pb import payment_pb2_grpc, two_phase_commit_pb2 as pb, two_phase_commit_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.errors import Unavailable
from utils.rpc.server import RpcServer
from utils.two_phase_commit import convert
from utils.two_phase_commit.messages import (
    Acknowledgement,
    Attempt,
    Compensated,
    Compensation,
    Decision,
    Resolution,
    ResolutionKind,
    Transaction,
    Vote,
)

TIMEOUT_S = 10.0


class PaymentProcess:
    """`python -m payment` on a port of its own; the same data at each start."""

    def __init__(self, directory: Path, **settings: str) -> None:
        (self.port,) = free_ports(1)
        self._settings = {
            "NODE_ID": "payment-service",
            "BIND_HOST": "127.0.0.1",
            "PORT": str(self.port),
            "DATA_DIR": str(directory),
            "ORDER_EXECUTOR": "127.0.0.1:1",
            "PAYMENT_CARD_SUCCESS_RATE": "1",
        } | settings
        self._log = directory / "payment.log"
        self._process: asyncio.subprocess.Process | None = None
        self._channel = Channel(f"127.0.0.1:{self.port}")
        self._participant = two_phase_commit_pb2_grpc.ParticipantServiceStub(self._channel)  # type: ignore[arg-type]
        self.payments = payment_pb2_grpc.PaymentServiceStub(self._channel)  # type: ignore[arg-type]

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "payment", env={**os.environ, **self._settings}, stderr=log
            )

    async def kill(self) -> None:
        """As kill -9 does."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """By SIGTERM; returns the status."""
        assert self._process is not None
        self._process.terminate()
        return await self._process.wait()

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()
        await self._channel.close()

    async def prepare(self, *transactions: Transaction) -> list[Vote]:
        """Asks until somebody answers."""
        request = pb.PrepareRequest(transactions=[convert.transaction_to_proto(item) for item in transactions])
        response = await self._until_available(self._participant.Prepare, request)
        return [convert.vote_from_proto(message) for message in response.votes]

    async def decide(self, *decisions: Decision) -> list[Acknowledgement]:
        """Tells until somebody answers."""
        request = pb.DecideRequest(decisions=[convert.decision_to_proto(item) for item in decisions])
        response = await self._until_available(self._participant.Decide, request)
        return [convert.acknowledgement_from_proto(message) for message in response.acknowledgements]

    async def compensate(self, compensation: Compensation) -> Compensated:
        """Asks until somebody answers."""
        request = convert.compensation_to_proto(compensation)
        response = await self._until_available(self._participant.Compensate, request)
        return convert.compensated_from_proto(response)

    async def log(self) -> str:
        return await asyncio.to_thread(self._log.read_text)

    async def _until_available(self, method: Any, request: Any) -> Any:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                with contextlib.suppress(Unavailable):
                    return await method(request, timeout=TIMEOUT_S)
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def payment_process(directory: Path, **settings: str) -> AsyncIterator[PaymentProcess]:
    process = PaymentProcess(directory, **settings)
    await process.start()
    try:
        yield process
    finally:
        await process.close()


class ExecutorDouble(two_phase_commit_pb2_grpc.CoordinatorServiceServicer):
    """The leader of the executors, as a participant in doubt sees it."""

    def __init__(self) -> None:
        self.known: dict[Attempt, ResolutionKind] = {}
        self.asked: asyncio.Queue[Attempt] = asyncio.Queue()

    async def Resolve(self, request: pb.ResolveRequest, context: Any) -> pb.ResolveResponse:
        resolutions = []
        for message in request.attempts:
            attempt = convert.attempt_from_proto(message)
            self.asked.put_nowait(attempt)
            resolutions.append(Resolution(attempt, self.known.get(attempt, ResolutionKind.UNDECIDED)))
        return pb.ResolveResponse(resolutions=[convert.resolution_to_proto(item) for item in resolutions])


@contextlib.asynccontextmanager
async def executor_double() -> AsyncIterator[tuple[ExecutorDouble, str]]:
    """And its address."""
    executor = ExecutorDouble()
    server = RpcServer("127.0.0.1:0", node_id="order_executor_1")
    two_phase_commit_pb2_grpc.add_CoordinatorServiceServicer_to_server(executor, server)  # type: ignore[arg-type]
    await server.start()
    try:
        yield executor, f"127.0.0.1:{server.port}"
    finally:
        await server.stop(grace_s=0)
