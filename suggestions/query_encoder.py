"""The encoder at work: loaded once in the background, and asked for the vectors of what visitors search for."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from suggestions.encoder import Encoder, EncoderError
from suggestions.shared_answers import SharedAnswers
from utils.observe.logging import get_logger

log = get_logger()

# One text at a time, 45 to 70 ms each: who would wait behind more than these is not made to.
IN_FLIGHT_MAX: Final = 4
# On a busy machine a text takes longer; it is encoded all the same, for whoever asks next.
WAIT_S_MAX: Final = 0.5
# Some 12 kB each.
VECTORS_CACHED_MAX: Final = 1_024


class EncoderNotReadyError(Exception):
    """The encoder is not loaded yet, or cannot be."""


class EncoderBusyError(Exception):
    """The encoder has other texts to do first."""


class QueryEncoder:
    """Belongs to one event loop, which it never blocks: loading and encoding have a thread."""

    def __init__(self, open_encoder: Callable[[], Encoder]) -> None:
        self._open_encoder = open_encoder
        self._encoder: Encoder | None = None
        self._loading: asyncio.Task[Encoder] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="query encoder")
        self._vectors = SharedAnswers(self._encode, entries_max=VECTORS_CACHED_MAX)
        self._in_flight = 0

    async def load(self) -> Encoder:
        """The loaded encoder: once, whoever asks. Raises EncoderError."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)

    async def vector_of(self, text: str) -> list[float]:
        """Raises EncoderNotReadyError, EncoderBusyError."""
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                return await self._vectors.get(text)
        except TimeoutError:
            raise EncoderBusyError(f"no vector within {WAIT_S_MAX} s") from None

    def close(self) -> None:
        """Texts that are being encoded are not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> Encoder:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        try:
            self._encoder = await loop.run_in_executor(self._thread, self._open_encoder)
        except EncoderError:
            log.exception("the encoder cannot be loaded: search goes by words")
            raise
        log.info("the encoder is loaded", duration_s=round(loop.time() - started_at, 1))
        return self._encoder

    async def _encode(self, text: str) -> list[float]:
        if self._encoder is None:
            raise EncoderNotReadyError("the encoder is not loaded")
        if self._in_flight >= IN_FLIGHT_MAX:
            raise EncoderBusyError(f"{self._in_flight} texts are being encoded")
        self._in_flight += 1
        try:
            (vector,) = await asyncio.get_running_loop().run_in_executor(self._thread, self._encoder.encode, [text])
        finally:
            self._in_flight -= 1
        return vector
