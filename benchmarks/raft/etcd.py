"""etcd, where it is installed: Put over gRPC from one Python client, one unary RPC for each command."""

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import grpc

from benchmarks.raft.cluster import WAIT_S_MAX, Process, first_of, unary_load
from benchmarks.raft.load import COMMAND_BYTES, Figures, Load, key_of
from tests.support.raft_cluster import free_ports

_PUT = "/etcdserverpb.KV/Put"
_RETRY_S = 0.002
_CALL_TIMEOUT_S = 0.25
# More entries than any load has.
_NEVER = 10**6


def missing() -> str:
    """Why it cannot be measured, if so."""
    commands = [command for command in ("etcd", "etcdctl") if shutil.which(command) is None]
    return f"there is no {' and no '.join(commands)} (Debian: etcd-server, etcd-client)" if commands else ""


def put_request(command: bytes) -> bytes:
    """PutRequest {bytes key = 1; bytes value = 2;} by hand: the lengths are below 128, so each is one byte."""
    key = key_of(command)
    assert COMMAND_BYTES < 128
    return b"\x0a" + bytes((len(key),)) + key + b"\x12" + bytes((len(command),)) + command


class EtcdCluster:
    """With its own defaults: a heartbeat every 100 ms, an election timeout of 1,000 ms."""

    name = "etcd"
    proposers = "one Python client (grpc.aio), a unary RPC each, which bounds it"

    def __init__(self, directory: Path, *, snapshots: bool) -> None:
        """`snapshots`: after as many entries as ours takes them, or never."""
        ports = free_ports(6)
        names = [f"node_{number}" for number in (1, 2, 3)]
        peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        self._nodes: dict[str, Process] = {}
        for name, port, peer in zip(names, ports[:3], peers, strict=True):
            client = f"http://127.0.0.1:{port}"
            command = (
                shutil.which("etcd") or "etcd",
                *("--name", name, "--data-dir", str(directory / name), "--log-level", "error"),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", ",".join(f"{n}={p}" for n, p in zip(names, peers, strict=True))),
                *("--snapshot-count", str(10_000 if snapshots else _NEVER)),
            )
            self._nodes[f"127.0.0.1:{port}"] = Process(command, dict(os.environ))
        self._leader = ""

    async def start(self) -> None:
        await asyncio.gather(*(node.start() for node in self._nodes.values() if not node.is_running))

    async def first_commit(self) -> None:
        running = [address for address, node in self._nodes.items() if node.is_running]
        await first_of([_put_until_it_is_committed(address) for address in running])

    async def settled(self) -> None:
        await asyncio.gather(*(_put_until_it_is_committed(address) for address in self._nodes))

    async def load(self, in_flight: int, *, seconds: float | None = None, count: int | None = None) -> Figures:
        await self.find_leader()
        return await unary_load(self._leader, _PUT, put_request, in_flight, Load(seconds=seconds, count=count))

    async def strike_leader(self, number: signal.Signals) -> None:
        await self._nodes[self._leader].strike(number)

    async def kill(self) -> None:
        await asyncio.gather(*(node.kill() for node in self._nodes.values()))

    async def find_leader(self) -> None:
        etcdctl = await asyncio.create_subprocess_exec(
            *("etcdctl", "--endpoints", ",".join(self._nodes), "endpoint", "status", "--write-out", "json"),
            env={**os.environ, "ETCDCTL_API": "3"},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await etcdctl.communicate()
        self._leader = next(
            answer["Endpoint"]
            for answer in json.loads(output)
            if answer["Status"]["leader"] == answer["Status"]["header"]["member_id"]
        )


async def _put_until_it_is_committed(address: str) -> None:
    """Each try is short: one that was given to a dead leader is not answered for long."""
    request = put_request(bytes(COMMAND_BYTES))
    async with asyncio.timeout(WAIT_S_MAX), grpc.aio.insecure_channel(address, options=_EAGER) as channel:
        put: Any = channel.unary_unary(_PUT)
        while True:
            try:
                await put(request, timeout=_CALL_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(_RETRY_S)
            else:
                return


_EAGER = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50))
