"""Executors as processes of their own."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

Process = asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def executor_processes(
    environments: dict[str, dict[str, str]], directory: Path, command: Sequence[str] = ("order_executor",)
) -> AsyncIterator[dict[str, Process]]:
    """`python -m <command>` for each environment, by node id; what still runs at the end has to stop when asked to."""
    processes: dict[str, Process] = {}
    with contextlib.ExitStack() as logs:
        try:
            for node_id, environment in environments.items():
                log = logs.enter_context((directory / f"{node_id}.log").open("ab"))
                processes[node_id] = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", *command, env={**os.environ, **environment}, stderr=log
                )
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
