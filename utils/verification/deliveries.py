"""Brings what has happened here to the two peers of a run, however often a message is lost on the way.

A message carries the whole of what its sender has to say: all its events and its clock, or that the run is stopped.
So steps that happen while a message is on its way travel together in the next one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from utils.observe.logging import get_logger
from utils.pb import verification_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.errors import DeadlineExceeded, ResourceExhausted, ServiceError, Unavailable
from utils.rpc.transport import INSECURE, Credentials, backoff_s
from utils.verification import wire
from utils.verification.runs import Run

log = get_logger()

ATTEMPT_TIMEOUT_S = 1.0
CHANNELS_MAX = 64


class Deliveries:
    """Of one service, to whatever replicas its runs are pinned to."""

    def __init__(self, service: str, credentials: Credentials = INSECURE) -> None:
        self.service = service
        self._credentials = credentials
        self._channels: OrderedDict[str, Channel] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def stub(self, address: str) -> verification_pb2_grpc.VerificationPeerStub:
        """Over a channel that is kept; the longest unused of too many is closed."""
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = Channel(address, self._credentials)
            if len(self._channels) > CHANNELS_MAX:
                _, unused = self._channels.popitem(last=False)
                self.keep(asyncio.create_task(unused.close()))
        self._channels.move_to_end(address)
        return verification_pb2_grpc.VerificationPeerStub(channel)  # type: ignore[arg-type]

    def keep(self, task: asyncio.Task[None]) -> None:
        """Holds a task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Gives up what has not arrived."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()


class Delivery:
    """The messages of one run, to `peers`: the names of the other two services and their addresses.

    At most one message is on its way to each peer at a time. Tries until the run is over or at its deadline.
    """

    def __init__(self, deliveries: Deliveries, run: Run, peers: Mapping[str, str]) -> None:
        self._deliveries = deliveries
        self._run = run
        self._peers = peers
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stops = False

    def tell_events(self) -> None:
        """An event has happened here: the peers will hear of it."""
        for peer, address in self._peers.items():
            if (task := self._tasks.get(peer)) is None or task.done():
                self._tasks[peer] = asyncio.create_task(self._deliver(peer, address))
                self._deliveries.keep(self._tasks[peer])

    def tell_stop(self) -> None:
        """The run has failed here: the peers will hear that instead of events."""
        self._stops = True
        self.tell_events()

    async def _deliver(self, peer: str, address: str) -> None:
        loop = asyncio.get_running_loop()
        assert self._run.deadline is not None
        # What the peer knows: how many events, and whether the run is stopped.
        told = (0, False)
        attempt = 0
        while not self._idle() and (news := (len(self._run.state.own_events), self._stops)) != told:
            if (remaining := self._run.deadline - loop.time()) <= 0:
                return
            attempt += 1
            try:
                await self._send(address, min(remaining, ATTEMPT_TIMEOUT_S))
            except (Unavailable, DeadlineExceeded, ResourceExhausted):
                await asyncio.sleep(min(backoff_s(attempt), remaining))
            except ServiceError as error:
                log.warning(
                    "a peer refused a message", peer=peer, order_id=self._run.run_id.order_id, cause=error.message
                )
                return
            else:
                told, attempt = news, 0

    def _idle(self) -> bool:
        """A run that is over interests nobody; and who stopped it elsewhere tells everybody."""
        return self._run.over or (self._run.stopped.is_set() and not self._stops)

    async def _send(self, address: str, timeout_s: float) -> None:
        stub = self._deliveries.stub(address)
        if self._stops:
            await stub.Stop(wire.stop_request(self._run), timeout=timeout_s)
        else:
            await stub.Notify(wire.notification(self._run, self._deliveries.service), timeout=timeout_s)
