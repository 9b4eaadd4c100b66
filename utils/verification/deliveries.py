"""Brings what has happened here to the two peers of a run, however often a message is lost on the way.

A notification carries the whole of what its sender has to say of a run: all its events and its clock, or that the run
is stopped. So steps that happen while one is on its way travel together in the next.

The notifications of all runs to one peer travel together too. One that the peer waits for leaves at once, and takes
with it whatever else there is for that peer; one that nobody waits for leaves after `HOLD_S` at the latest. What the
final clock overtakes is not sent any more: that clock says it all.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from typing import Any

from utils.observe.logging import get_logger
from utils.pb import verification_pb2, verification_pb2_grpc
from utils.rpc.channel import Channel
from utils.rpc.errors import DeadlineExceeded, ResourceExhausted, ServiceError, Unavailable
from utils.rpc.transport import Credentials, backoff_s
from utils.verification import wire
from utils.verification.events import OWNER, PREREQUISITE, Event
from utils.verification.runs import Run

log = get_logger()

# A notification that no event waits for may wait so long for company. A call that takes longer no longer holds back
# the next one to the same peer...
HOLD_S = 0.01
# ...up to this many calls at once.
CALLS_MAX = 8
ATTEMPT_TIMEOUT_S = 1.0
COURIERS_MAX = 64

# Whose event each event allows.
_WAITING = {prerequisite: OWNER[event] for event, prerequisite in PREREQUISITE.items() if prerequisite is not None}


class Deliveries:
    """Of one service, to whatever replicas its runs are pinned to."""

    def __init__(self, service: str, credentials: Credentials | None = None) -> None:
        self.service = service
        self._credentials = credentials
        self._couriers: OrderedDict[str, _Courier] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def courier(self, address: str) -> "_Courier":
        """One for each address; of too many, the longest unused one that has nothing to deliver is closed."""
        courier = self._couriers.get(address)
        if courier is None:
            if len(self._couriers) >= COURIERS_MAX:
                idle = next((address for address, courier in self._couriers.items() if courier.idle), None)
                if idle is not None:
                    self.start(self._couriers.pop(idle).close())
            courier = self._couriers[address] = _Courier(self, Channel(address, self._credentials))
        self._couriers.move_to_end(address)
        return courier

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """In a task that is held until it is done."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Gives up what has not arrived."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for courier in self._couriers.values():
            await courier.close()
        self._couriers.clear()


class Delivery:
    """What one run has to say, to `peers`: the names of the other two services and their addresses."""

    def __init__(self, deliveries: Deliveries, run: Run, peers: Mapping[str, str]) -> None:
        self._deliveries = deliveries
        self._peers = peers
        self.run = run
        self.stops = False

    def tell_event(self, event: Event) -> None:
        """It has happened here: the peers will hear of it."""
        for peer, address in self._peers.items():
            self._deliveries.courier(address).take(self, urgent=_WAITING.get(event) == peer)

    def tell_stop(self) -> None:
        """The run has failed here: the peers will hear that instead of events."""
        self.stops = True
        for address in self._peers.values():
            self._deliveries.courier(address).take(self, urgent=True)

    def is_idle(self, now: float) -> bool:
        """A run that is over, or late, interests nobody; and who stopped it elsewhere tells everybody."""
        assert self.run.deadline is not None
        return self.run.over or now >= self.run.deadline or (self.run.stopped.is_set() and not self.stops)

    def notification(self) -> verification_pb2.Notification:
        return wire.notification(self.run, self._deliveries.service, stopped=self.stops)


class _Courier:
    """To one address. What does not arrive is sent again until its run is over or late."""

    def __init__(self, deliveries: Deliveries, channel: Channel) -> None:
        self._deliveries = deliveries
        self._channel = channel
        self._stub = verification_pb2_grpc.VerificationPeerStub(channel)  # type: ignore[arg-type]
        self._loop = asyncio.get_running_loop()
        # A dict for a set that keeps its order.
        self._waiting: dict[Delivery, None] = {}
        self._leaves_at = 0.0
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._calls = 0
        self._called_at = 0.0
        self._failures = 0
        self._backs_off_until = 0.0

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._calls

    def take(self, delivery: Delivery, *, urgent: bool) -> None:
        """`urgent`: the peer waits for it."""
        leaves_at = self._loop.time() + (0.0 if urgent else HOLD_S)
        self._leaves_at = min(self._leaves_at, leaves_at) if self._waiting else leaves_at
        self._waiting[delivery] = None
        self._schedule()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        await self._channel.close()

    def _schedule(self) -> None:
        if not self._waiting or self._calls >= CALLS_MAX:
            return
        free_at = self._called_at + HOLD_S if self._calls else 0.0
        at = max(self._leaves_at, free_at, self._backs_off_until)
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(at, self._leave), at

    def _leave(self) -> None:
        self._timer = None
        now = self._loop.time()
        batch: list[Delivery] = []
        while self._waiting and len(batch) < wire.NOTIFICATIONS_MAX:
            delivery = next(iter(self._waiting))
            del self._waiting[delivery]
            if not delivery.is_idle(now):
                batch.append(delivery)
        if batch:
            self._calls += 1
            self._called_at = now
            self._deliveries.start(self._call(batch))
        self._schedule()

    async def _call(self, batch: list[Delivery]) -> None:
        request = verification_pb2.NotifyRequest(notifications=[delivery.notification() for delivery in batch])
        again: list[Delivery] = []
        try:
            response = await self._stub.Notify(request, timeout=ATTEMPT_TIMEOUT_S)
        except (Unavailable, DeadlineExceeded, ResourceExhausted):
            again = batch
        except ServiceError as error:
            log.warning("a peer refused messages", peer=self._channel.address, cause=error.message)
        else:
            again = [batch[position] for position in response.send_again]
            for position, cause in response.refused.items():
                order_id = batch[position].run.run_id.order_id
                log.warning("a peer refused a message", peer=self._channel.address, order_id=order_id, cause=cause)
        finally:
            self._calls -= 1
        self._failures = self._failures + 1 if again else 0
        if again:
            now = self._loop.time()
            self._backs_off_until = now + backoff_s(self._failures)
            self._leaves_at = min(self._leaves_at, now) if self._waiting else now
            self._waiting.update(dict.fromkeys(again))
        self._schedule()
