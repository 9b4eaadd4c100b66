"""Which pending orders the executor leader holds. Known to the queue's leader alone, and never replicated.

Rules:
- Only the highest epoch that has polled holds claims. A lower one is refused; a higher one takes over, and what the
  one before it held is free unless the new one names it.
- A poll names every order that its executor holds: from then on exactly these are claimed, and what the poll hands
  out is added. So an order whose hand-out was lost is not named in the next poll, and is free again by it.
- One poll counts, the latest. An older one that still waits hands out nothing any more and ends empty. A late
  duplicate of an older poll makes itself the latest and may free what its executor holds, but its answer has no
  reader, and the executor's next poll, which comes as soon as its waiting one ends empty, names everything again.
- A new leader of the queue starts without claims, and learns them from the executor's next poll.
"""

from collections.abc import Collection, Iterable


class StaleEpochError(Exception):
    """A later executor leader has polled: this one is deposed."""

    def __init__(self, epoch: int, highest_epoch: int) -> None:
        super().__init__(f"epoch {epoch} is over: epoch {highest_epoch} has polled")
        self.epoch = epoch
        self.highest_epoch = highest_epoch


class EpochSharedError(Exception):
    """Two executors claim to lead the same epoch: their election is broken."""

    def __init__(self, epoch: int, executor_id: str, other_id: str) -> None:
        super().__init__(f"{executor_id} polls in epoch {epoch}, which {other_id} leads")
        self.epoch = epoch
        self.executor_id = executor_id
        self.other_id = other_id


class Claims:
    """The claims of one executor leader at a time. Polls are numbered; see `begin`."""

    def __init__(self) -> None:
        self.epoch = 0
        self.executor_id = ""
        self._held: set[str] = set()
        self._poll = 0

    @property
    def held(self) -> Collection[str]:
        """The order ids that are claimed; also ids of orders that have ended since."""
        return self._held

    def begin(self, executor_id: str, epoch: int, held: Iterable[str]) -> int:
        """A poll arrives: it counts from now on, and its number is returned. Raises both errors of this module."""
        if epoch < self.epoch:
            raise StaleEpochError(epoch, self.epoch)
        if epoch == self.epoch and executor_id != self.executor_id:
            raise EpochSharedError(epoch, executor_id, self.executor_id)
        self.epoch = epoch
        self.executor_id = executor_id
        self._held = set(held)
        self._poll += 1
        return self._poll

    def counts(self, poll: int) -> bool:
        """Whether this poll is still the latest."""
        return poll == self._poll

    def hand_out(self, poll: int, order_ids: Iterable[str]) -> None:
        """The poll's answer will carry these orders."""
        assert self.counts(poll), "only the latest poll hands out"
        self._held.update(order_ids)

    def forget(self) -> None:
        """This node no longer leads the queue: waiting polls do not count any more, and nothing is claimed."""
        self._held = set()
        self._poll += 1
