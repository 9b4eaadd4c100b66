"""What no node would send comes to the Raft port of a real one: it is refused with a reason, and nothing changes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.journal import Journal
from tests.support.raft_cluster import WAIT_S_MAX, free_ports
from utils.pb import raft_pb2 as pb
from utils.raft.config import RaftConfig
from utils.raft.io.node import RaftNode
from utils.raft.io.status import RaftStatus
from utils.rpc.server import RpcServer

_DELIVER = "/bookstore.v1.raft.RaftService/Deliver"
_TERM = 3
_HUGE = 2**63
# -1, as a program writes it that does not know that the field has no sign.
_NEGATIVE = 2**64 - 1
_BAD = grpc.StatusCode.INVALID_ARGUMENT


class Target:
    """node_1: a follower of node_2 in term 3, with two entries. Nobody else runs."""

    def __init__(self, directory: Path, node: RaftNode, address: str) -> None:
        self._directory = directory
        self._node = node
        self._address = address

    async def deliver(self, *batches: bytes) -> None:
        """On a stream of its own, until its end. Raises what the node says of it."""
        async with grpc.aio.insecure_channel(self._address, options=[("grpc.max_send_message_length", -1)]) as channel:
            deliver: Any = channel.stream_unary(_DELIVER)
            await deliver(iter(batches), timeout=WAIT_S_MAX)

    async def has_entries(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S_MAX):
            while self._node.status.last_log_index < count:  # noqa: ASYNC110 appending is no change of status
                await asyncio.sleep(0.01)

    async def has_written(self, data: bytes) -> None:
        """A log that is appended to is written a little later."""
        async with asyncio.timeout(WAIT_S_MAX):
            while not any(data in content for content in self._files().values()):  # noqa: ASYNC110 a file tells nobody
                await asyncio.sleep(0.01)

    def state(self) -> tuple[RaftStatus, dict[str, str]]:
        """With a digest of each file: pytest would compare the files themselves line by line."""
        return self._node.status, {name: sha256(content).hexdigest() for name, content in self._files().items()}

    def _files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self._directory / "raft").iterdir()}


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    ports = free_ports(3)
    peers = {f"node_{number}": f"127.0.0.1:{port}" for number, port in enumerate(ports, start=1)}
    # No election: what changes, the messages have changed.
    config = RaftConfig(
        node_id="node_1", port=ports[0], peers=peers, data_dir=str(tmp_path), election_timeout_ms=60_000
    )
    node = RaftNode(config, Journal())
    server = RpcServer(peers["node_1"], node_id="node_1")
    node.add_to(server)
    async with contextlib.AsyncExitStack() as stack:
        # node_2 is there, as far as a connection can tell; it is no bad input that it is gone.
        stack.enter_context(socket.create_server(("127.0.0.1", ports[1])))
        await node.start()
        stack.push_async_callback(node.stop)
        await server.start()
        stack.push_async_callback(server.stop, grace_s=0)
        started = Target(tmp_path, node, peers["node_1"])
        await started.deliver(batch(append(0, 0, entry(1, 2), entry(2, 3, data=b"the second"))))
        await started.has_entries(2)
        await started.has_written(b"the second")
        yield started


def batch(*messages: pb.Message, cluster_id: str = "bookstore") -> bytes:
    return pb.MessageBatch(cluster_id=cluster_id, messages=messages).SerializeToString()


def message(sender: str = "node_2", recipient: str = "node_1", **body: Any) -> pb.Message:
    return pb.Message(sender=sender, recipient=recipient, **body)


def entry(index: int, term: int, kind: int = pb.Entry.KIND_COMMAND, data: bytes = b"x") -> pb.Entry:
    return pb.Entry(index=index, term=term, kind=kind, data=data)  # type: ignore[arg-type]


def append(prev_index: int, prev_term: int, *entries: pb.Entry, sender: str = "node_2", **fields: int) -> pb.Message:
    request = pb.AppendEntriesRequest(
        prev_log_index=prev_index, prev_log_term=prev_term, entries=entries, **{"term": _TERM, **fields}
    )
    return message(sender, append_entries_request=request)


def chunk(**fields: Any) -> pb.Message:
    whole = {"term": _TERM, "last_included_index": 9, "last_included_term": 3, "data": b"state", "done": True}
    return message(install_snapshot_request=pb.InstallSnapshotRequest(**{**whole, **fields}))


def vote(term: int, last_index: int, last_term: int) -> pb.Message:
    request = pb.RequestVoteRequest(term=term, last_log_index=last_index, last_log_term=last_term)
    return message("node_3", request_vote_request=request)


GOOD = append(2, 3, entry(3, 3))
REFUSED = {
    "an unknown node": (batch(append(2, 3, sender="node_9")), "'node_9' is no member"),
    "a name that no node has": (batch(append(2, 3, sender="")), "'' is no"),
    "itself": (batch(append(2, 3, sender="node_1")), "'node_1' is no"),
    "a message for another node": (batch(message(recipient="node_2", timeout_now_request={"term": 3})), "'node_2'"),
    "another cluster": (batch(GOOD, cluster_id="other"), "cluster 'other'"),
    "no cluster": (batch(GOOD, cluster_id=""), "cluster ''"),
    "no body": (batch(message()), "no body"),
    "a term of 2^63": (batch(append(2, 3, term=_HUGE)), "term is 9223372036854775808"),
    "a negative term": (batch(append(2, 3, term=_NEGATIVE)), "term is 18446744073709551615"),
    "a term of 0": (batch(append(0, 0, term=0)), "term 0"),
    "an index of 2^63": (batch(append(_HUGE, 3)), "prev_log_index is"),
    "a negative index": (batch(append(_NEGATIVE, 3)), "prev_log_index is"),
    "a negative commit index": (batch(append(2, 3, leader_commit=_NEGATIVE)), "leader_commit is"),
    "a vote for a term of 2^63": (batch(vote(_HUGE, 2, 3)), "term is"),
    "a vote for a log of the future": (batch(vote(4, 2, 4)), "which is above 3"),
    "an index without a term": (batch(append(2, 0)), "both are 0, or neither"),
    "an earlier entry of a later term": (batch(append(2, 4)), "which is above 3"),
    "entries that do not follow what is before": (batch(append(2, 3, entry(4, 3))), "entry 4 follows 2"),
    "entries with a gap": (batch(append(2, 3, entry(3, 3), entry(5, 3))), "entry 5 follows 3"),
    "entries with an index twice": (batch(append(2, 3, entry(3, 3), entry(3, 3))), "entry 3 follows 3"),
    "entries whose terms decrease": (batch(append(2, 3, entry(3, 2))), "of term 2, after 3"),
    "an entry of a later term": (batch(append(2, 3, entry(3, 4))), "of term 4, after 3 and in 3"),
    "an entry of no kind": (batch(append(2, 3, entry(3, 3, kind=0))), "0 is not a valid EntryKind"),
    "an entry of a kind of the future": (batch(append(2, 3, entry(3, 3, kind=99))), "99 is not a valid EntryKind"),
    "a configuration that cannot be read": (
        batch(append(2, 3, entry(3, 3, pb.Entry.KIND_CONFIGURATION, b"\xff"))),
        "configuration cannot be read",
    ),
    "an entry that is too large": (batch(append(2, 3, entry(3, 3, data=bytes(2**21 + 1)))), "2097153 bytes"),
    "a snapshot of nothing": (batch(chunk(last_included_index=0, last_included_term=0)), "snapshot of nothing"),
    "a snapshot of a later term": (batch(chunk(last_included_term=4)), "which is above 3"),
    "a negative offset": (batch(chunk(offset=_NEGATIVE)), "offset is"),
    "a chunk that is too large": (batch(chunk(data=bytes(2**22 + 1))), "4194305 bytes"),
    "a good message before a bad one": (batch(GOOD, append(_HUGE, 3)), "prev_log_index is"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_makes_no_sense_is_refused_with_a_reason_and_changes_nothing(target: Target, what: str) -> None:
    before = target.state()
    data, reason = REFUSED[what]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await target.deliver(data)
    assert refused.value.code() is _BAD
    assert reason in (refused.value.details() or "")
    assert target.state() == before
    # It still listens to those who make sense.
    await target.deliver(batch(GOOD))
    await target.has_entries(3)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(batch(GOOD) + bytes(17 * 2**20), grpc.StatusCode.RESOURCE_EXHAUSTED, id="17 MiB"),
        pytest.param(b"\xff\xff\xff", _BAD, id="what is no protobuf"),
    ],
)
async def test_what_cannot_be_taken_off_the_wire_changes_nothing(
    target: Target, data: bytes, code: grpc.StatusCode
) -> None:
    before = target.state()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await target.deliver(data)
    assert refused.value.code() is code
    assert target.state() == before
    await target.deliver(batch(GOOD))
    await target.has_entries(3)


async def test_chunks_out_of_order_change_nothing(target: Target) -> None:
    """They may be late, so nobody is blamed; but a snapshot is taken only from its first byte on, without gaps."""
    before = target.state()
    await target.deliver(batch(chunk(offset=5)))
    await target.deliver(batch(chunk(offset=0, data=b"st", done=False), chunk(offset=3, data=b"te")))
    await target.deliver(batch(chunk(offset=0, data=b"st", done=False), chunk(offset=0, data=b"ate")))
    assert target.state() == before
    await target.deliver(batch(chunk(offset=2, data=b"", done=False), GOOD))
    await target.has_entries(3)


async def test_what_was_sent_on_a_stream_before_it_was_refused_counts(target: Target) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await target.deliver(batch(GOOD), batch(append(_HUGE, 3)))
    await target.has_entries(3)
