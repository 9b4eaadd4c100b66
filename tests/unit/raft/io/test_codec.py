"""Messages survive the wire."""

import pytest

from utils.pb import raft_pb2
from utils.raft.core.configuration import Configuration
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Body,
    Entry,
    EntryKind,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    Message,
    PreVoteRequest,
    PreVoteResponse,
    RequestVoteRequest,
    RequestVoteResponse,
    TimeoutNowRequest,
)
from utils.raft.io.codec import message_from_proto, message_to_proto

_CONFIGURATION = Configuration({"node_1": "host:1"}, {"node_2": "host:2"}).encoded()
# No two fields of one body have the same value, so that none can be taken for another.
_BODIES: list[Body] = [
    PreVoteRequest(1, 2, 3),
    PreVoteResponse(1, granted=True),
    RequestVoteRequest(1, 2, 3, leadership_transfer=True),
    RequestVoteResponse(1, granted=True),
    AppendEntriesRequest(
        1,
        2,
        3,
        (
            Entry(4, 5, EntryKind.NO_OP, b""),
            Entry(6, 7, EntryKind.COMMAND, b"\x00data"),
            Entry(8, 9, EntryKind.CONFIGURATION, _CONFIGURATION),
        ),
        10,
        11,
        12,
    ),
    AppendEntriesRequest(1, 2, 3, (), 4),
    AppendEntriesResponse(1, True, 2, 3, 4, 5, 6, 7),
    InstallSnapshotRequest(1, 2, 3, _CONFIGURATION, 4, b"data", True),
    InstallSnapshotResponse(1, 2, 3, True),
    TimeoutNowRequest(1),
]


@pytest.mark.parametrize("body", _BODIES, ids=lambda body: type(body).__name__)
def test_a_message_arrives_as_it_was_sent(body: Body) -> None:
    message = Message("node_1", "node_2", body)
    wire = message_to_proto(message).SerializeToString()
    assert message_from_proto(raft_pb2.Message.FromString(wire)) == message


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(ValueError, match="no body"):
        message_from_proto(raft_pb2.Message(sender="node_1"))
    request = raft_pb2.AppendEntriesRequest(entries=[raft_pb2.Entry(index=1, term=1)])
    with pytest.raises(ValueError, match="0 is not a valid EntryKind"):
        message_from_proto(raft_pb2.Message(append_entries_request=request))
    entry = raft_pb2.Entry(index=1, term=1, kind=raft_pb2.Entry.KIND_CONFIGURATION, data=b"c")
    with pytest.raises(ValueError, match="a configuration cannot be read"):
        message_from_proto(raft_pb2.Message(append_entries_request=raft_pb2.AppendEntriesRequest(entries=[entry])))
    chunk = raft_pb2.InstallSnapshotRequest(configuration=b"c")
    with pytest.raises(ValueError, match="a configuration cannot be read"):
        message_from_proto(raft_pb2.Message(install_snapshot_request=chunk))
