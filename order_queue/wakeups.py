"""Who waits for what on this node, and the queue's machine as Raft drives it: after each command it wakes them."""

import asyncio
from typing import Final

from order_queue.commands import Completed, Outcome, RefundCompleted, RefundRequested, Registered
from order_queue.queue_machine import QueueMachine

# A waiting poll: orders came, or a newer poll did.
WORK: Final = "work"
# The recorder: orders ended, or were refunded.
ENDED: Final = "ended"
# A waiting poll for refunds.
REFUNDS: Final = "refunds"


def end_of(order_id: str) -> str:
    """The topic of those who wait for an order's end."""
    return f"end of {order_id}"


def refund_of(order_id: str) -> str:
    """The topic of those who wait for an order's refund."""
    return f"refund of {order_id}"


class Wakeups:
    """Waiting by topic. To be woken says only that it is worth looking again."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    async def wait(self, topic: str, timeout_s: float | None = None) -> None:
        """Returns when the topic is woken after this call, or after `timeout_s` seconds."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, set()).add(woken)
        try:
            await asyncio.wait((woken,), timeout=timeout_s)
        finally:
            # The topic's set is gone if it was woken, and may be a new one by now.
            waiting = self._waiting.get(topic, set())
            waiting.discard(woken)
            if not waiting:
                self._waiting.pop(topic, None)

    def is_awaited(self, topic: str) -> bool:
        return topic in self._waiting

    def wake(self, topic: str) -> None:
        for woken in self._waiting.pop(topic, ()):
            if not woken.done():
                woken.set_result(None)

    def wake_all(self) -> None:
        for topic in list(self._waiting):
            self.wake(topic)


class WakingMachine:
    """A `utils.raft.state_machine.StateMachine` around the queue's."""

    def __init__(self, machine: QueueMachine, wakeups: Wakeups) -> None:
        self._machine = machine
        self._wakeups = wakeups

    def apply(self, index: int, command: bytes) -> Outcome:
        outcome = self._machine.apply(index, command)
        match outcome:
            case Registered(record, is_new=True):
                self._wakeups.wake(ENDED if record.ended_index else WORK)
            case Completed(ended):
                for record in ended:
                    self._wakeups.wake(end_of(record.order_id))
                self._wakeups.wake(ENDED)
            case RefundRequested(is_new=True):
                self._wakeups.wake(REFUNDS)
                self._wakeups.wake(ENDED)
            case RefundCompleted(order_id, is_new=True):
                self._wakeups.wake(refund_of(order_id))
                self._wakeups.wake(ENDED)
        return outcome

    def snapshot(self) -> bytes:
        return self._machine.snapshot()

    def restore(self, snapshot: bytes) -> None:
        self._machine.restore(snapshot)
        self._wakeups.wake_all()
