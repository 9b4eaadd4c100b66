"""RaftAdminService: what operators (python -m bookstore cluster), and nodes that want to join, ask of a node."""

from typing import Any, Protocol

from utils.pb import raft_pb2, raft_pb2_grpc
from utils.raft.core.configuration import AddLearner, Change, Remove
from utils.raft.io.service_errors import raft_errors
from utils.raft.io.servicer import status_to_proto
from utils.raft.io.status import MemberStatus, RaftStatus
from utils.rpc.errors import InvalidArgument
from utils.rpc.gate import check_sender


class Operated(Protocol):
    """The node, as its operators see it."""

    @property
    def cluster_id(self) -> str: ...

    @property
    def status(self) -> RaftStatus: ...

    @property
    def members(self) -> tuple[MemberStatus, ...]: ...

    @property
    def snapshot_index(self) -> int: ...

    async def change_membership(self, change: Change, *, timeout_s: float) -> None: ...

    async def transfer_leadership(self, to: str | None = None, *, timeout_s: float) -> None: ...

    async def take_snapshot(self, *, timeout_s: float) -> int: ...


class RaftAdminServicer(raft_pb2_grpc.RaftAdminServiceServicer):
    def __init__(self, node: Operated) -> None:
        self._node = node

    async def Join(self, request: raft_pb2.JoinRequest, context: Any) -> raft_pb2.JoinResponse:
        check_sender(context.caller, request.node_id)
        cluster_id = self._node.cluster_id
        if request.cluster_id != cluster_id:
            raise InvalidArgument(f"this is a node of cluster {cluster_id!r}, not of {request.cluster_id!r}")
        await self._change(AddLearner(request.node_id, request.address), context)
        return raft_pb2.JoinResponse()

    async def DescribeCluster(
        self, request: raft_pb2.DescribeClusterRequest, context: Any
    ) -> raft_pb2.DescribeClusterResponse:
        node = self._node
        return raft_pb2.DescribeClusterResponse(
            status=status_to_proto(node.status, node.cluster_id),
            members=[
                raft_pb2.Member(
                    node_id=member.node_id,
                    address=member.address,
                    voter=member.is_voter,
                    match_index=member.match_index,
                    active=member.is_active,
                )
                for member in node.members
            ],
            snapshot_index=node.snapshot_index,
        )

    async def AddNode(self, request: raft_pb2.AddNodeRequest, context: Any) -> raft_pb2.AddNodeResponse:
        await self._change(AddLearner(request.node_id, request.address), context)
        return raft_pb2.AddNodeResponse()

    async def RemoveNode(self, request: raft_pb2.RemoveNodeRequest, context: Any) -> raft_pb2.RemoveNodeResponse:
        await self._change(Remove(request.node_id), context)
        return raft_pb2.RemoveNodeResponse()

    async def TransferLeadership(
        self, request: raft_pb2.TransferLeadershipRequest, context: Any
    ) -> raft_pb2.TransferLeadershipResponse:
        with raft_errors():
            await self._node.transfer_leadership(request.node_id or None, timeout_s=context.time_remaining())
        return raft_pb2.TransferLeadershipResponse()

    async def TakeSnapshot(self, request: raft_pb2.TakeSnapshotRequest, context: Any) -> raft_pb2.TakeSnapshotResponse:
        with raft_errors():
            index = await self._node.take_snapshot(timeout_s=context.time_remaining())
        return raft_pb2.TakeSnapshotResponse(last_included_index=index)

    async def _change(self, change: Change, context: Any) -> None:
        with raft_errors():
            await self._node.change_membership(change, timeout_s=context.time_remaining())
