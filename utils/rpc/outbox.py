"""A bounded list of messages that wait for one writer, who takes them in batches."""

import asyncio
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Outbox(Generic[_T]):
    """While the writer writes, messages gather; the busier the stream, the larger the batches."""

    def __init__(self, batch_max: int = 256) -> None:
        self._batch_max = batch_max
        self._messages: list[_T] = []
        self._filled = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: _T) -> None:
        self._messages.append(message)
        self._filled.set()

    def close(self) -> None:
        """Nobody need wait for messages any more; those that are there can be taken."""
        self._closed = True
        self._filled.set()

    async def take(self) -> list[_T]:
        """Waits for at least one message, and takes the oldest ones. Empty once it is closed and none is left."""
        await self._filled.wait()
        batch = self._messages[: self._batch_max]
        del self._messages[: self._batch_max]
        if not self._messages and not self._closed:
            self._filled.clear()
        return batch
