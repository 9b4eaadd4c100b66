"""The inside of a process that is one node: it does what it is told, one line of JSON each, on its standard input.

A command takes the place of the one before it, which may still be waiting to lead.
"""

import asyncio
import sys
from typing import Protocol

import msgspec

from benchmarks.raft.load import Figures, Load


class Order(msgspec.Struct, frozen=True):
    """`settle`: until the node knows a leader. `commit`: until it leads and has committed a new command of its own.

    `load`: as many proposers as `in_flight`, for `seconds` or `count` commands.
    """

    number: int
    what: str
    in_flight: int = 0
    seconds: float | None = None
    count: int | None = None


class Answer(msgspec.Struct, frozen=True):
    number: int
    figures: Figures | None = None
    error: str = ""


class Node(Protocol):
    """What each system can do, in its own way."""

    async def settle(self) -> None: ...
    async def commit(self) -> None: ...
    async def load(self, in_flight: int, load: Load) -> None: ...


async def obey(node: Node) -> None:
    """Until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    task: asyncio.Task[None] | None = None
    while line := await reader.readline():
        if task is not None:
            task.cancel()
        task = asyncio.create_task(_carry_out(node, msgspec.json.decode(line, type=Order)))


async def _carry_out(node: Node, order: Order) -> None:
    figures, error = None, ""
    try:
        match order.what:
            case "settle":
                await node.settle()
            case "commit":
                await node.commit()
            case "load":
                load = Load(seconds=order.seconds, count=order.count)
                await node.load(order.in_flight, load)
                figures = load.figures()
    except Exception as failure:  # noqa: BLE001 whoever gave the order says what it means
        # One of those that were in flight speaks for all.
        error = repr(failure.exceptions[0] if isinstance(failure, ExceptionGroup) else failure)
    sys.stdout.buffer.write(msgspec.json.encode(Answer(order.number, figures, error)) + b"\n")
    sys.stdout.buffer.flush()
