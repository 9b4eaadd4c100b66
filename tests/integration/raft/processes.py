"""Raft nodes as processes of their own, and what they say."""

import argparse
import asyncio
import contextlib
import io
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from bookstore import cluster
from tests.support.raft_cluster import free_ports
from utils.rpc.errors import ServiceError

_ROOT = Path(__file__).parents[3]
# Generous: reached only when something is broken.
_WAIT_S_MAX = 30.0
_NODE_IDS = ("node_1", "node_2", "node_3")


class NodeProcess:
    """What one process said, in order, over all its lives."""

    def __init__(self, node_id: str, environment: dict[str, str]) -> None:
        self.node_id = node_id
        self.lines: list[list[str]] = []
        self.data_dir = Path(environment["DATA_DIR"])
        self.address = f"127.0.0.1:{environment['PORT']}"
        self.environment = {**os.environ, **environment}
        self._said = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.raft_process",
            cwd=_ROOT, env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read(self._process))

    def send(self, signal_number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(signal_number)

    def limit_files(self, bytes_max: int) -> None:
        assert self._process is not None
        hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (bytes_max, hard_limit))

    async def ended(self) -> tuple[int, str]:
        """Its status and what it logged, once it has ended by itself or by a signal."""
        assert self._process is not None
        assert self._reader is not None
        async with asyncio.timeout(_WAIT_S_MAX):
            await self._reader
            return await self._process.wait(), self.logged

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self.send(signal.SIGKILL)
            await self.ended()

    async def says(self, condition: Callable[[list[str]], bool], *, after: int = 0) -> list[str]:
        """The first line from number `after` on for which it holds; waits for it."""
        async with asyncio.timeout(_WAIT_S_MAX), self._said:
            while True:
                for line in self.lines[after:]:
                    if condition(line):
                        return line
                await self._said.wait()

    def words(self, first: str) -> list[str]:
        return [line[1] for line in self.lines if line[0] == first]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.logged = ""
        errors = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            async with self._said:
                self.lines.append(line.decode().split())
                self._said.notify_all()
        self.logged = (await errors).decode()


class Processes:
    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self._directory = directory
        self._settings = settings
        peers = {node_id: f"127.0.0.1:{port}" for node_id, port in zip(_NODE_IDS, free_ports(3), strict=True)}
        self.nodes: dict[str, NodeProcess] = {}
        for node_id, address in peers.items():
            self.add(node_id, address, ",".join(f"{peer}={at}" for peer, at in peers.items()))

    def add(self, node_id: str, address: str, peers: str, **variables: str) -> NodeProcess:
        """One that is not started yet; `peers` is its RAFT_PEERS."""
        self.nodes[node_id] = NodeProcess(
            node_id,
            {
                "NODE_ID": node_id,
                "BIND_HOST": "127.0.0.1",
                "PORT": address.rpartition(":")[2],
                "RAFT_PEERS": peers,
                "DATA_DIR": str(self._directory / node_id),
                # So that logs are compacted and nodes catch up by snapshots all the time.
                "SNAPSHOT_ENTRIES": "50",
                **self._settings,
                **variables,
            },
        )
        return self.nodes[node_id]

    def others(self, node: NodeProcess) -> list[NodeProcess]:
        return [other for other in self.nodes.values() if other is not node]

    async def leader(self, among: list[NodeProcess], *, above_term: int = 0) -> tuple[NodeProcess, int]:
        """The first of them that leads in a higher term, and has had many commands acknowledged in it."""

        async def leads(node: NodeProcess) -> tuple[NodeProcess, int]:
            await node.says(lambda _: leading_term(node) is not None)
            return node, leading_term(node) or 0

        def leading_term(node: NodeProcess) -> int | None:
            counts = Counter(int(word.split("/")[1]) for word in node.words("acknowledged"))
            return next((term for term, count in counts.items() if term > above_term and count >= 40), None)

        tasks = [asyncio.create_task(leads(node)) for node in among]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def check_nothing_lost(self) -> None:
        """Stops all; each journal holds every acknowledged command once, and all journals agree."""
        for node in self.nodes.values():
            node.send(signal.SIGTERM)
        for node in self.nodes.values():
            status, logged = await node.ended()
            assert status == 0, logged
            assert node.lines[-1] == ["end"]
        journals = [node.words("applied") for node in self.nodes.values()]
        acknowledged = {word for node in self.nodes.values() for word in node.words("acknowledged")}
        longest = max(journals, key=len)
        assert len(acknowledged) >= 80
        assert acknowledged <= set(longest)
        assert max(Counter(longest).values()) == 1
        for journal in journals:
            assert journal == longest[: len(journal)]


async def cluster_command(*arguments: str) -> tuple[int, str]:
    """The status of `python -m bookstore cluster`, and what it printed or complained about."""
    parser = argparse.ArgumentParser()
    cluster.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["cluster", *arguments])
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            await cluster.act(parsed.nodes, parsed)
        except (SystemExit, ServiceError) as error:
            return 1, str(error)
    return 0, output.getvalue()


@contextlib.asynccontextmanager
async def started_processes(directory: Path, settings: Mapping[str, str]) -> AsyncIterator[Processes]:
    """Three nodes with these variables; all that were added are killed in the end."""
    processes = Processes(directory, settings)
    try:
        for node in processes.nodes.values():
            await node.start()
        yield processes
    finally:
        for node in processes.nodes.values():
            await node.kill()
