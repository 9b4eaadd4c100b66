"""The encoder never blocks the event loop, is loaded once, and turns away what it cannot do soon."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from suggestions import query_encoder as module
from suggestions.encoder import EncoderError
from suggestions.query_encoder import IN_FLIGHT_MAX, EncoderBusyError, EncoderNotReadyError, QueryEncoder


class FakeEncoder:
    """Encodes when told to; in which threads, it remembers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.opened = 0
        self.broken = False
        self.threads: set[int] = set()
        self.may_encode = threading.Event()
        self.may_encode.set()

    def open(self) -> "FakeEncoder":
        self.opened += 1
        self.threads.add(threading.get_ident())
        if self.broken:
            raise EncoderError("no weights")
        return self

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        self.threads.add(threading.get_ident())
        assert self.may_encode.wait(10)
        self.texts += texts
        return [[float(len(text))] for text in texts]


@pytest.fixture
def fake() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
async def encoder(fake: FakeEncoder) -> AsyncIterator[QueryEncoder]:
    encoder = QueryEncoder(fake.open)
    yield encoder
    fake.may_encode.set()
    encoder.close()


async def test_it_is_loaded_once_in_another_thread_whoever_asks(fake: FakeEncoder, encoder: QueryEncoder) -> None:
    with pytest.raises(EncoderNotReadyError):
        await encoder.vector_of("whale")
    assert {id(loaded) for loaded in await asyncio.gather(encoder.load(), encoder.load())} == {id(fake)}
    assert fake.opened == 1
    assert await encoder.vector_of("whale") == [5.0]
    assert threading.get_ident() not in fake.threads


async def test_each_text_is_encoded_once(fake: FakeEncoder, encoder: QueryEncoder) -> None:
    await encoder.load()
    vectors = await asyncio.gather(*(encoder.vector_of("whale") for _ in range(20)))
    assert vectors == [[5.0]] * 20
    await encoder.vector_of("whale")
    assert fake.texts == ["whale"]


async def test_more_texts_than_it_may_hold_are_turned_away(fake: FakeEncoder, encoder: QueryEncoder) -> None:
    await encoder.load()
    fake.may_encode.clear()
    held = [asyncio.create_task(encoder.vector_of(f"text {number}")) for number in range(IN_FLIGHT_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(EncoderBusyError):
        await encoder.vector_of("one more")
    fake.may_encode.set()
    assert await asyncio.gather(*held) == [[6.0]] * IN_FLIGHT_MAX
    assert await encoder.vector_of("one more") == [8.0]


async def test_nobody_waits_long_and_the_vector_is_there_for_who_asks_again(
    fake: FakeEncoder, encoder: QueryEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await encoder.load()
    fake.may_encode.clear()
    monkeypatch.setattr(module, "WAIT_S_MAX", 0.01)
    with pytest.raises(EncoderBusyError):
        await encoder.vector_of("whale")
    fake.may_encode.set()
    monkeypatch.undo()
    assert await encoder.vector_of("whale") == [5.0]
    assert fake.texts == ["whale"]


async def test_encoder_that_cannot_be_loaded_is_told_to_all_who_ask(fake: FakeEncoder, encoder: QueryEncoder) -> None:
    fake.broken = True
    for _ in range(2):
        with pytest.raises(EncoderError):
            await encoder.load()
    assert fake.opened == 1
    with pytest.raises(EncoderNotReadyError):
        await encoder.vector_of("whale")
