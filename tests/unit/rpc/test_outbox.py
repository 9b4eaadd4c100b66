"""Messages gather while the writer writes; a closed outbox holds nobody up."""

import asyncio

from utils.rpc.outbox import Outbox


async def test_what_gathers_is_taken_together_in_batches_of_bounded_size() -> None:
    outbox: Outbox[int] = Outbox(batch_max=2)
    for number in range(3):
        outbox.put(number)
    assert await outbox.take() == [0, 1]
    assert await outbox.take() == [2]


async def test_a_writer_that_waits_wakes_with_the_first_message() -> None:
    outbox: Outbox[int] = Outbox()
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    outbox.put(1)
    assert await asyncio.wait_for(taking, 1) == [1]


async def test_closing_wakes_the_writer_and_loses_nothing() -> None:
    outbox: Outbox[int] = Outbox()
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.close()
    assert await asyncio.wait_for(taking, 1) == []
    outbox.put(1)
    assert await outbox.take() == [1]
    assert await asyncio.wait_for(outbox.take(), 1) == []
