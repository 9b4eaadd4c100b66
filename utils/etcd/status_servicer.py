"""What a node on etcd serves of RaftService: who leads, for those who ask every node of a cluster for it."""

from typing import Any, Protocol

import grpc

from utils.pb import raft_pb2, raft_pb2_grpc
from utils.raft.io.servicer import status_to_proto
from utils.raft.io.status import RaftStatus


class HasStatus(Protocol):
    @property
    def status(self) -> RaftStatus: ...


class StatusServicer(raft_pb2_grpc.RaftServiceServicer):
    """Everything else of it is not implemented: such nodes say nothing to each other."""

    def __init__(self, node: HasStatus, cluster_id: str) -> None:
        self._node = node
        self._cluster_id = cluster_id

    async def Deliver(self, request_iterator: Any, context: Any) -> raft_pb2.StreamEnd:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this cluster's log is in etcd")
        raise AssertionError("aborted")

    async def GetRaftStatus(
        self, request: raft_pb2.GetRaftStatusRequest, context: Any
    ) -> raft_pb2.GetRaftStatusResponse:
        return status_to_proto(self._node.status, self._cluster_id)
