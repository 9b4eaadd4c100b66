"""Calls to etcd: at whichever of its members answers.

All calls go to one member until it does not answer; then to the next. A member that is cut off from the others, or
stopped, accepts calls and answers none, so only its silence tells: a try is short, and is made again elsewhere. Hence
whatever is asked for may happen more than once, and transactions have to be built for that.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc

from utils.etcd.errors import EtcdRefusedError, EtcdUnavailableError
from utils.pb import etcd_pb2 as pb, etcd_pb2_grpc
from utils.rpc.transport import CHANNEL_OPTIONS, backoff_s

# Longer than a healthy member takes on a slow disk, and short enough for a second try within a lease.
TRY_TIMEOUT_S = 1.0

_ELSEWHERE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    # A member whose disk or queue is broken.
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
)

_Response = TypeVar("_Response")
_Answer_co = TypeVar("_Answer_co", covariant=True)


class _Member:
    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.address = address
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        self.kv = etcd_pb2_grpc.KVStub(self.channel)
        self.lease = etcd_pb2_grpc.LeaseStub(self.channel)
        self.watch = etcd_pb2_grpc.WatchStub(self.channel)


class _Call(Protocol[_Answer_co]):
    def __call__(self, member: _Member, try_s: float) -> Awaitable[_Answer_co]: ...


class EtcdClient:
    """Belongs to one event loop. Every method raises EtcdUnavailableError and EtcdRefusedError."""

    def __init__(self, endpoints: tuple[str, ...], credentials: grpc.ChannelCredentials | None = None) -> None:
        """`endpoints`: host:port of each member. Without credentials: plain text."""
        self._members = [_Member(address, credentials) for address in endpoints]
        self._current = 0
        self._watches: set[Any] = set()

    async def txn(self, request: pb.TxnRequest, *, timeout_s: float) -> pb.TxnResponse:
        """Linearizable, also if it only reads. After EtcdUnavailableError it may still be carried out."""
        return await self._anywhere(lambda member, try_s: member.kv.Txn(request, timeout=try_s), timeout_s)

    async def grant_lease(self, ttl_s: int, *, timeout_s: float) -> pb.LeaseGrantResponse:
        """A try whose answer was lost leaves a lease that nobody keeps alive, and that ends by itself."""
        request = pb.LeaseGrantRequest(TTL=ttl_s)
        return await self._anywhere(lambda member, try_s: member.lease.LeaseGrant(request, timeout=try_s), timeout_s)

    async def revoke_lease(self, lease_id: int, *, timeout_s: float) -> None:
        """Also if it is over already."""
        request = pb.LeaseRevokeRequest(ID=lease_id)
        with contextlib.suppress(EtcdRefusedError):
            await self._anywhere(lambda member, try_s: member.lease.LeaseRevoke(request, timeout=try_s), timeout_s)

    async def keep_lease_alive(self, lease_id: int, *, timeout_s: float) -> int:
        """For how many seconds from now on, at one member only; 0: the lease is over."""

        async def ask(member: _Member) -> int:
            stream = member.lease.LeaseKeepAlive(timeout=timeout_s)
            try:
                await stream.write(pb.LeaseKeepAliveRequest(ID=lease_id))
                response = await stream.read()
            finally:
                stream.cancel()
            if not isinstance(response, pb.LeaseKeepAliveResponse):
                raise EtcdUnavailableError(f"{member.address} ended the stream")
            return response.TTL

        return await self._at(self._current, ask)

    async def watch(self, key: bytes, range_end: bytes) -> AsyncGenerator[None, None]:
        """Yields when it has begun, and then with every change between the keys. Use it inside contextlib.aclosing."""

        async def begin(member: _Member) -> Any:
            stream = member.watch.Watch()
            create = pb.WatchCreateRequest(key=key, range_end=range_end)
            try:
                await stream.write(pb.WatchRequest(create_request=create))
            except BaseException:
                stream.cancel()
                raise
            return stream

        asked = self._current
        stream = await self._at(asked, begin)
        self._watches.add(stream)
        try:
            while True:
                response = await self._at(asked, lambda _: stream.read())
                if response is grpc.aio.EOF or response.canceled:
                    raise EtcdUnavailableError("the member ended the watch")
                yield
        finally:
            self._watches.discard(stream)
            stream.cancel()

    async def close(self) -> None:
        """Ends the calls in progress with EtcdUnavailableError."""
        await asyncio.gather(*(member.channel.close() for member in self._members))

    async def _anywhere(self, call: _Call[_Response], timeout_s: float) -> _Response:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        tries = 0
        while True:
            asked = self._current
            try:
                return await self._at(asked, partial(call, try_s=min(TRY_TIMEOUT_S, deadline - loop.time())))
            except EtcdUnavailableError:
                tries += 1
                pause_s = backoff_s(tries)
                if loop.time() + pause_s >= deadline:
                    raise
                await asyncio.sleep(pause_s)

    async def _at(self, asked: int, call: Callable[[_Member], Awaitable[_Response]]) -> _Response:
        member = self._members[asked]
        try:
            return await call(member)
        except grpc.aio.AioRpcError as error:
            what = f"{member.address}: {error.details() or error.code().name}"
            if error.code() not in _ELSEWHERE:
                raise EtcdRefusedError(what) from error
            self._give_up(asked)
            raise EtcdUnavailableError(what) from error
        except (asyncio.InvalidStateError, EtcdUnavailableError) as error:
            # The first is gRPC's way of saying that a stream has ended while it was written to.
            self._give_up(asked)
            raise EtcdUnavailableError(f"{member.address}: {error}") from error
        except asyncio.CancelledError:
            # gRPC says so, too, of a stream that was given up with its member; then nobody has cancelled this task.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            raise EtcdUnavailableError(f"{member.address} was given up") from None
        except grpc.aio.UsageError as error:
            raise EtcdUnavailableError("the client is closed") from error

    def _give_up(self, asked: int) -> None:
        """The next calls go to another member, and so do the watches: a silent member tells them nothing."""
        if self._current == asked:
            self._current = (asked + 1) % len(self._members)
            for stream in self._watches:
                stream.cancel()
