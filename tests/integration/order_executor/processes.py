"""Executors as processes of their own."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

Process = asyncio.subprocess.Process


async def start_executor(
    environment: dict[str, str], directory: Path, command: Sequence[str] = ("order_executor",)
) -> Process:
    with (directory / f"{environment['NODE_ID']}.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", *command, env={**os.environ, **environment}, stderr=log
        )


@contextlib.asynccontextmanager
async def executor_processes(
    environments: dict[str, dict[str, str]], directory: Path, command: Sequence[str] = ("order_executor",)
) -> AsyncIterator[dict[str, Process]]:
    """`python -m <command>` for each environment, by node id; what still runs at the end has to stop when asked to.

    A test may put another process in the place of one that has ended: `start_executor`.
    """
    processes: dict[str, Process] = {}
    try:
        for node_id, environment in environments.items():
            processes[node_id] = await start_executor(environment, directory, command)
        yield processes
        running = [process for process in processes.values() if process.returncode is None]
        for process in running:
            process.terminate()
        assert [await asyncio.wait_for(process.wait(), 20) for process in running] == [0] * len(running)
    finally:
        for process in processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
