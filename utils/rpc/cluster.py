"""A channel to a replicated service: finds its leader, follows redirects, and tries again while there is time."""

import asyncio
from collections.abc import Sequence
from typing import Any

from utils.rpc.channel import Channel, UnaryCall
from utils.rpc.errors import DeadlineExceeded, NotLeader, ServiceError, Unavailable
from utils.rpc.transport import Credentials, backoff_s


class ClusterChannel:
    """For generated stubs, like Channel. A call may reach the cluster more than once: methods must be idempotent.

    Only what says that another node may answer is tried again: NotLeader and Unavailable.
    """

    def __init__(self, addresses: Sequence[str], credentials: Credentials | None = None) -> None:
        if not addresses:
            raise ValueError("a cluster has at least one address")
        self._credentials = credentials
        self._channels = {address: Channel(address, credentials) for address in addresses}
        self._target = addresses[0]

    def unary_unary(
        self, method: str, request_serializer: Any, response_deserializer: Any, **_generated: Any
    ) -> UnaryCall:
        """Called by generated stubs."""

        async def call(request: Any, *, timeout: float) -> Any:
            return response_deserializer(await self.call(method, request_serializer(request), timeout_s=timeout))

        return call

    async def call(self, method: str, request: bytes, *, timeout_s: float) -> bytes:
        """The leader's response. Raises its error; Unavailable when no leader answered within `timeout_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        attempt = 0
        # A leader's own address may lead nowhere from here, and be long in saying so: one that is not known is followed
        # after the known ones, and once.
        asked: set[str] = set()
        astray: set[str] = set()
        error: ServiceError = Unavailable(f"{method}: no time was left to find a leader")
        while (remaining := deadline - loop.time()) > 0:
            target = self._target
            try:
                return await self._channels[target].call(method, request, timeout_s=remaining)
            except DeadlineExceeded:
                self._turn_from(target, None)
                raise
            except Unavailable as failure:
                error = failure
                leader = failure.leader_address if isinstance(failure, NotLeader) else None
                asked.add(target)
                if not isinstance(failure, NotLeader):
                    astray.add(target)
                reached = leader in self._channels or asked >= self._channels.keys()
                self._turn_from(target, leader if reached and leader not in astray else None)
            attempt += 1
            # A redirect to a leader is followed at once, but not round in circles.
            if self._target != leader or attempt > len(self._channels):
                await asyncio.sleep(min(backoff_s(attempt), max(0.0, deadline - loop.time())))
        raise Unavailable(f"no leader answered {method} within {timeout_s:.3f} s: {error.message}", **error.metadata)

    async def close(self) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def _turn_from(self, failed: str, leader: str | None) -> None:
        if self._target != failed:
            return  # another call has already found somebody else to ask
        if leader and leader != failed:
            if leader not in self._channels:
                self._channels[leader] = Channel(leader, self._credentials)
            self._target = leader
            return
        addresses = list(self._channels)
        self._target = addresses[(addresses.index(failed) + 1) % len(addresses)]
