"""Three nodes as processes: killed, stopped and started again while they acknowledge commands."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.raft_cluster import free_ports

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
        self._environment = {**os.environ, **environment}
        self._said = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.raft_process",
            cwd=_ROOT, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
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
    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        peers = ",".join(
            f"{node_id}=127.0.0.1:{port}" for node_id, port in zip(_NODE_IDS, free_ports(len(_NODE_IDS)), strict=True)
        )
        self.nodes = {
            node_id: NodeProcess(
                node_id,
                {
                    "NODE_ID": node_id,
                    "BIND_HOST": "127.0.0.1",
                    "PORT": address.rpartition(":")[2],
                    "RAFT_PEERS": peers,
                    "DATA_DIR": str(directory / node_id),
                    # So that logs are compacted and nodes catch up by snapshots all the time.
                    "SNAPSHOT_ENTRIES": "50",
                    **settings,
                },
            )
            for node_id, _, address in (peer.partition("=") for peer in peers.split(","))
        }

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


@pytest.fixture
async def processes(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Processes]:
    """The parameter, if there is one, is settings of every node."""
    started = Processes(tmp_path, getattr(request, "param", {}))
    async with contextlib.AsyncExitStack() as stack:
        for node in started.nodes.values():
            stack.push_async_callback(node.kill)
            await node.start()
        yield started


async def test_a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost(processes: Processes) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    await first.kill()
    second, second_term = await processes.leader(processes.others(first), above_term=term)
    seen = len(first.lines)
    await first.start()
    await first.says(lambda line: line[0] == "follows" and int(line[2]) >= second_term, after=seen)
    # The next one dies, too: the first is needed for a majority now.
    await second.kill()
    await processes.leader(processes.others(second), above_term=second_term)
    await second.start()
    await second.says(lambda line: line[0] == "follows" and int(line[2]) > second_term)
    await processes.check_nothing_lost()


@pytest.mark.parametrize("processes", [{"ELECTION_TIMEOUT_MS": "6000"}], indirect=True)
async def test_a_killed_leader_is_missed_before_the_election_timeout(processes: Processes) -> None:
    """Its port is closed: that tells, and nobody waits for a heartbeat."""
    first, term = await processes.leader(list(processes.nodes.values()))
    await first.kill()
    async with asyncio.timeout(6):
        await processes.leader(processes.others(first), above_term=term)


async def test_a_stopped_leader_is_replaced_and_follows_when_it_goes_on(processes: Processes) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    first.send(signal.SIGSTOP)
    seen = len(first.lines)
    _, second_term = await processes.leader(processes.others(first), above_term=term)
    first.send(signal.SIGCONT)
    await first.says(lambda line: line[0] == "follows" and int(line[2]) >= second_term, after=seen)
    await processes.check_nothing_lost()


async def test_a_leader_whose_disk_is_full_gives_way_and_comes_back_when_there_is_space(processes: Processes) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    # No file may grow: for the process that is a disk without space.
    first.limit_files(1)
    seen = len(first.lines)
    _, second_term = await processes.leader(processes.others(first), above_term=term)
    first.limit_files(resource.RLIM_INFINITY)
    await first.says(lambda line: line[0] == "follows" and int(line[2]) >= second_term, after=seen)
    await processes.check_nothing_lost()


async def test_all_killed_at_once_come_back_with_everything(processes: Processes) -> None:
    _, term = await processes.leader(list(processes.nodes.values()))
    for node in processes.nodes.values():
        node.send(signal.SIGKILL)
    for node in processes.nodes.values():
        await node.ended()
        await node.start()
    await processes.leader(list(processes.nodes.values()), above_term=term)
    await processes.check_nothing_lost()


async def test_a_node_with_a_damaged_log_does_not_start_and_can_be_rebuilt(processes: Processes) -> None:
    first, term = await processes.leader(list(processes.nodes.values()))
    await first.kill()
    _, second_term = await processes.leader(processes.others(first), above_term=term)
    (path,) = (first.data_dir / "raft").glob("log-*.raft")
    data = bytearray(path.read_bytes())
    data[len(data.rstrip(b"\0")) // 2] ^= 1
    path.write_bytes(data)
    await first.start()
    status, logged = await first.ended()
    assert status == 1
    assert f"{path} is damaged" in logged
    assert "move the node's data directory away" in logged
    first.data_dir.rename(first.data_dir.with_suffix(".damaged"))
    seen = len(first.lines)
    await first.start()
    await first.says(lambda line: line[0] == "follows" and int(line[2]) >= second_term, after=seen)
    await processes.check_nothing_lost()
