"""What a participant does about attempts that it has prepared and hears nothing of: it asks the coordinators."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from utils.observe.counters import count
from utils.observe.logging import get_logger
from utils.pb import two_phase_commit_pb2, two_phase_commit_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import ServiceError
from utils.two_phase_commit.convert import attempt_to_proto, resolution_from_proto
from utils.two_phase_commit.messages import Attempt, Decision, ResolutionKind

log = get_logger()

RESOLVE_TIMEOUT_S = 5.0
BATCH_MAX = 256

Decide = Callable[[Sequence[Decision]], Awaitable[None]]


class InDoubtInquiry:
    """Asks about an attempt once it has been in doubt for `in_doubt_s` seconds, and again after as long.

    `in_doubt` names the attempts whose decision this participant may carry out now: none, where it is a replica.
    The seconds are those of this process: they decide when to ask, never what is decided.
    """

    def __init__(
        self,
        executors: Channel | ClusterChannel,
        *,
        in_doubt: Callable[[], Iterable[Attempt]],
        decide: Decide,
        in_doubt_s: float,
    ) -> None:
        self._stub = two_phase_commit_pb2_grpc.CoordinatorServiceStub(executors)  # type: ignore[arg-type]
        self._in_doubt = in_doubt
        self._decide = decide
        self._in_doubt_s = in_doubt_s
        # Since when this process has known of each, or has last asked.
        self._since: dict[Attempt, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._in_doubt_s / 5)
            due = self._due()
            if not due:
                continue
            try:
                await self._resolve(due)
            except ServiceError as error:
                # Whoever can answer is away: the attempts stay prepared, and are asked about again.
                log.warning("could not resolve attempts in doubt", attempts=len(due), error=error.message)

    def _due(self) -> list[Attempt]:
        now = asyncio.get_running_loop().time()
        self._since = {attempt: self._since.get(attempt, now) for attempt in self._in_doubt()}
        due = [attempt for attempt, since in self._since.items() if now - since >= self._in_doubt_s]
        return sorted(due, key=self._since.__getitem__)[:BATCH_MAX]

    async def _resolve(self, due: list[Attempt]) -> None:
        count("participant.inquiries")
        request = two_phase_commit_pb2.ResolveRequest(attempts=[attempt_to_proto(attempt) for attempt in due])
        response = await self._stub.Resolve(request, timeout=RESOLVE_TIMEOUT_S)
        asked_at = asyncio.get_running_loop().time()
        self._since.update(dict.fromkeys(due, asked_at))
        resolutions = [resolution_from_proto(message) for message in response.resolutions]
        decisions = [
            Decision(resolution.attempt, resolution.kind is ResolutionKind.COMMITTED, clock=resolution.clock)
            for resolution in resolutions
            if resolution.kind is not ResolutionKind.UNDECIDED and resolution.attempt in self._since
        ]
        log.info("asked about attempts in doubt", attempts=len(due), resolved=len(decisions))
        if decisions:
            await self._decide(decisions)
