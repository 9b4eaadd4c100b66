"""Messages as protobuf, and back (utils/pb/raft.proto)."""

from collections.abc import Callable
from typing import Any

from utils.pb import raft_pb2
from utils.raft.core.configuration import configuration_of
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
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

# The bodies whose fields are the same on both sides; AppendEntriesRequest alone has entries inside.
_PLAIN: dict[str, tuple[type[Any], type[Any]]] = {
    "pre_vote_request": (PreVoteRequest, raft_pb2.PreVoteRequest),
    "pre_vote_response": (PreVoteResponse, raft_pb2.PreVoteResponse),
    "request_vote_request": (RequestVoteRequest, raft_pb2.RequestVoteRequest),
    "request_vote_response": (RequestVoteResponse, raft_pb2.RequestVoteResponse),
    "append_entries_response": (AppendEntriesResponse, raft_pb2.AppendEntriesResponse),
    "install_snapshot_request": (InstallSnapshotRequest, raft_pb2.InstallSnapshotRequest),
    "install_snapshot_response": (InstallSnapshotResponse, raft_pb2.InstallSnapshotResponse),
    "timeout_now_request": (TimeoutNowRequest, raft_pb2.TimeoutNowRequest),
}
_NAMES = {body: name for name, (body, _) in _PLAIN.items()}


def message_to_proto(message: Message) -> raft_pb2.Message:
    """The wire form."""
    body = message.body
    if isinstance(body, AppendEntriesRequest):
        return raft_pb2.Message(
            sender=message.sender, recipient=message.recipient, append_entries_request=_append_to_proto(body)
        )
    name = _NAMES[type(body)]
    proto_type = _PLAIN[name][1]
    fields = {field: getattr(body, field) for field in body.__struct_fields__}
    return raft_pb2.Message(sender=message.sender, recipient=message.recipient, **{name: proto_type(**fields)})


def message_from_proto(proto: raft_pb2.Message) -> Message:
    """Raises ValueError when it has no body, an entry of no known kind, or a configuration that cannot be read."""
    name = proto.WhichOneof("body")
    if name is None:
        raise ValueError(f"a message of {proto.sender!r} has no body")
    if name == "append_entries_request":
        return Message(proto.sender, proto.recipient, _append_from_proto(proto.append_entries_request))
    if name == "install_snapshot_request" and proto.install_snapshot_request.configuration:
        configuration_of(proto.install_snapshot_request.configuration)
    make: Callable[..., Any] = _PLAIN[name][0]
    body = getattr(proto, name)
    return Message(
        proto.sender,
        proto.recipient,
        make(**{field: getattr(body, field) for field in _PLAIN[name][0].__struct_fields__}),
    )


def _append_to_proto(body: AppendEntriesRequest) -> raft_pb2.AppendEntriesRequest:
    return raft_pb2.AppendEntriesRequest(
        term=body.term,
        prev_log_index=body.prev_log_index,
        prev_log_term=body.prev_log_term,
        entries=[
            raft_pb2.Entry(index=entry.index, term=entry.term, kind=entry.kind.value, data=entry.data)  # type: ignore[arg-type]
            for entry in body.entries
        ],
        leader_commit=body.leader_commit,
        read_id=body.read_id,
        probe_id=body.probe_id,
    )


def _append_from_proto(proto: raft_pb2.AppendEntriesRequest) -> AppendEntriesRequest:
    for entry in proto.entries:
        if entry.kind == raft_pb2.Entry.KIND_CONFIGURATION:
            configuration_of(entry.data)
    return AppendEntriesRequest(
        term=proto.term,
        prev_log_index=proto.prev_log_index,
        prev_log_term=proto.prev_log_term,
        entries=tuple(Entry(entry.index, entry.term, EntryKind(entry.kind), entry.data) for entry in proto.entries),
        leader_commit=proto.leader_commit,
        read_id=proto.read_id,
        probe_id=proto.probe_id,
    )
