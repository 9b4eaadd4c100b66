"""Brings the catalogue and its vectors into PostgreSQL, whenever it is there, and says whether it has the books."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from suggestions.book_store import BookStore, StoreUnavailableError, digest_of, text_of
from suggestions.encoder import Encoder, EncoderError
from utils.catalogue import CatalogueBook
from utils.observe.logging import get_logger

log = get_logger()

SEED_TIMEOUT_S: Final = 20.0
QUERY_TIMEOUT_S: Final = 2.0
CHECK_INTERVAL_S: Final = 2.0
RETRY_INTERVAL_S: Final = 0.5
# Checkouts and searches go first: the books' vectors take the processor's time that nobody else wants.
ENCODER_NICENESS: Final = 19


class Indexer:
    """One task. The encoder is asked for only when a vector is missing."""

    def __init__(
        self,
        store: BookStore,
        catalogue: Sequence[CatalogueBook],
        load_encoder: Callable[[], Awaitable[Encoder]],
        *,
        on_books: Callable[[bool], Awaitable[None]],
        on_vectors: Callable[[bool], Awaitable[None]],
    ) -> None:
        """`on_books` hears whether PostgreSQL answers and has the books; `on_vectors` whether each has its vector."""
        self._store = store
        self._catalogue = catalogue
        self._load_encoder = load_encoder
        self._on_books = on_books
        self._on_vectors = on_vectors
        self._has_books: bool | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._store.seed(self._catalogue, timeout_s=SEED_TIMEOUT_S)
                await self._say(True)
                await self._index_and_watch()
            except StoreUnavailableError as error:
                await self._on_vectors(False)
                await self._say(False, str(error))
                await asyncio.sleep(RETRY_INTERVAL_S)

    async def _index_and_watch(self) -> None:
        """Raises StoreUnavailableError."""
        tasks = [asyncio.create_task(part()) for part in (self._index, self._watch)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Raises StoreUnavailableError when the books are no longer to be had."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            books = await self._store.count_books(timeout_s=QUERY_TIMEOUT_S)
            if books < len(self._catalogue):
                raise StoreUnavailableError(f"PostgreSQL has {books} of {len(self._catalogue)} books")

    async def _say(self, has_books: bool, cause: str = "") -> None:
        if has_books != self._has_books:
            self._has_books = has_books
            if has_books:
                log.info("PostgreSQL has the books", books=len(self._catalogue))
            else:
                log.warning("PostgreSQL does not have the books", cause=cause)
            await self._on_books(has_books)

    async def _index(self) -> None:
        stored = await self._store.digests(timeout_s=QUERY_TIMEOUT_S)
        missing = [book for book in self._catalogue if stored.get(book.book_id) != digest_of(text_of(book))]
        if missing:
            await self._on_vectors(False)
            try:
                encoder = await self._load_encoder()
            except EncoderError:
                return
            await self._compute(missing, encoder)
        await self._on_vectors(True)

    async def _compute(self, missing: Sequence[CatalogueBook], encoder: Encoder) -> None:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        # A thread of its own, which ends with the work: only its own priority is lowered.
        thread = ThreadPoolExecutor(1, thread_name_prefix="indexer", initializer=_lower_priority)
        log.info("computing vectors", books=len(missing))
        try:
            for book in missing:
                (vector,) = await loop.run_in_executor(thread, encoder.encode, [text_of(book)])
                await self._store.save_vector(book, vector, timeout_s=QUERY_TIMEOUT_S)
        finally:
            # Not waited for: the event loop has orders to serve.
            thread.shutdown(wait=False, cancel_futures=True)
        log.info("vectors are stored", books=len(missing), duration_s=round(loop.time() - started_at, 1))


def _lower_priority() -> None:
    # On Linux priorities belong to threads, and this is the thread's own number.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), ENCODER_NICENESS)
