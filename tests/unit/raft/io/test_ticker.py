"""Ticks come regularly, and those that were missed do not come in a burst."""

import asyncio
import time

from utils.raft.io.ticker import Ticker


async def test_a_process_that_was_stopped_gets_one_tick() -> None:
    ticks: asyncio.Queue[float] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    ticker = Ticker(0.05, lambda: ticks.put_nowait(loop.time()))
    ticker.start()
    await ticks.get()
    # Nothing of the loop runs meanwhile, as after SIGSTOP.
    time.sleep(0.5)  # noqa: ASYNC251
    resumed_at = loop.time()
    await ticks.get()
    following = await ticks.get()
    assert following - resumed_at >= 0.045
    ticker.stop()


async def test_a_stopped_ticker_is_silent() -> None:
    ticks: list[None] = []
    ticker = Ticker(0.01, lambda: ticks.append(None))
    ticker.start()
    ticker.stop()
    await asyncio.sleep(0.05)
    assert not ticks
