"""A busy machine: a bookstore of its own, 16 processes, that takes orders for as long as standard input is open."""

import asyncio
import contextlib
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.checkout import COPIES
from benchmarks.drive import TITLES, drive
from bookstore.running import RunningSystem
from bookstore.shop_client import set_stock
from bookstore.system import ORCHESTRATOR

_CLIENTS = 8
_ROUND_S = 1.0


@contextlib.asynccontextmanager
async def busy_machine() -> AsyncIterator[None]:
    """`async with busy_machine():` is entered once orders flow."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.raft.busy"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if not await process.stdout.readline():
            raise RuntimeError("the bookstore did not start")
        yield
    finally:
        process.stdin.close()
        await process.wait()


def main() -> None:
    over = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="bookstore-busy-") as directory, RunningSystem(Path(directory)) as system:
        set_stock(system, dict.fromkeys(TITLES, COPIES))
        port = system.state.process(ORCHESTRATOR).port
        drive(port, _CLIENTS, _ROUND_S)
        print("orders flow", flush=True)
        while not over.is_set():
            drive(port, _CLIENTS, _ROUND_S)


if __name__ == "__main__":
    main()
