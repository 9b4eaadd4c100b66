"""etcd, three members on loopback, and the links by which nodes reach it: all can be killed, stopped or cut."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.network import Network
from tests.support.raft_cluster import free_ports

# Generous: reached only when something is broken.
WAIT_S_MAX = 30.0
_LOOK_AGAIN_S = 0.05
_NODE = "node"

needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (Debian: etcd-server)")
# For the tests of a contract that both engines keep.
ENGINES = ("raft", pytest.param("etcd", marks=needs_etcd))


class EtcdMembers:
    """Real processes, with real disks."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        names = ("etcd_1", "etcd_2", "etcd_3")
        ports = free_ports(6)
        # Where clients reach each of them: host:port.
        self.endpoints = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports[:3], strict=True)}
        self._peers = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports[3:], strict=True)}
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str) -> None:
        client, peer = f"http://{self.endpoints[name]}", self._peers[name]
        command = (
            *("etcd", "--name", name, "--data-dir", str(self._directory / name)),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", ",".join(f"{each}={url}" for each, url in self._peers.items())),
            *("--auto-compaction-mode", "revision", "--auto-compaction-retention", "1000"),
        )
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(*command, stderr=log)

    async def start_all(self) -> None:
        for name in self.endpoints:
            await self.start(name)
        await self.leader()

    async def leader(self) -> str:
        """Waits until there is one."""
        async with asyncio.timeout(WAIT_S_MAX):
            while True:
                for name in self._processes:
                    status = await self._status(name)
                    if status.get("leader", "nobody") == status.get("header", {}).get("member_id"):
                        return name
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def healthy(self, name: str) -> None:
        """Waits until this member follows the leader, or leads."""
        async with asyncio.timeout(WAIT_S_MAX):
            while "leader" not in await self._status(name):  # noqa: ASYNC110 another process tells nobody
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def _status(self, name: str) -> dict[str, Any]:
        """Empty if it does not answer; zeros are left out."""
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(trust_env=False, timeout=1) as http:
                answer = await http.post(f"http://{self.endpoints[name]}/v3/maintenance/status", json={})
                return dict(answer.json())
        return {}

    async def kill(self, name: str) -> None:
        """As a power cut does."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGCONT)
        process.kill()
        await process.wait()

    def pause(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    async def close(self) -> None:
        for name in list(self._processes):
            await self.kill(name)


@contextlib.asynccontextmanager
async def etcd_members(directory: Path) -> AsyncIterator[EtcdMembers]:
    members = EtcdMembers(directory)
    try:
        await members.start_all()
        yield members
    finally:
        await members.close()


@contextlib.asynccontextmanager
async def endpoints_for(engine: str, directory: Path) -> AsyncIterator[tuple[str, ...]]:
    """Where etcd is, which runs meanwhile, if the engine is that; else nowhere."""
    if engine == "etcd":
        async with etcd_members(directory) as members:
            yield tuple(members.endpoints.values())
    else:
        yield ()


class Links:
    """One node's connections to etcd. A cut one takes bytes and delivers none; what it has taken arrives late."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        """`targets`: host:port by the name of a member."""
        self._members = tuple(targets)
        self._network = Network([_NODE], lambda: targets)
        self.endpoints: tuple[str, ...] = ()

    async def start(self) -> None:
        ports = [await self._network.entrance(_NODE, name) for name in self._members]
        self.endpoints = tuple(f"127.0.0.1:{port}" for port in ports)

    def cut(self) -> None:
        self._network.cut([_NODE], self._members)
        self.lose_answers()

    def lose_answers(self) -> None:
        """What the node asks for reaches etcd, and it does not hear so."""
        self._network.cut(self._members, [_NODE])

    def heal(self) -> None:
        self._network.heal()

    async def close(self) -> None:
        await self._network.close()
