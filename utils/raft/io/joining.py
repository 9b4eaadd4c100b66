"""How a node whose disk is empty becomes a member: it asks, at one address of any member, until a leader has added it.

Until then it hears nothing. If it was a voter before it lost its disk, it has forgotten what it promised. No majority
rests on that any more once its removal is committed, and a leader adds it only after that. An election that began
before may still be under way: it gives no vote without a configuration, and none but the leader's in the leader's term.
"""

import asyncio
from collections.abc import Sequence

from utils.observe.logging import get_logger
from utils.pb import raft_pb2, raft_pb2_grpc
from utils.rpc.cluster import ClusterChannel
from utils.rpc.errors import ServiceError
from utils.rpc.transport import Credentials

log = get_logger()

_TIMEOUT_S = 5.0
_PAUSE_S = 0.5


async def join_cluster(
    request: raft_pb2.JoinRequest, addresses: Sequence[str], credentials: Credentials | None
) -> None:
    """Returns once the node is a learner. `addresses`: host:port of some members."""
    channel = ClusterChannel(addresses, credentials)
    stub = raft_pb2_grpc.RaftAdminServiceStub(channel)  # type: ignore[arg-type]
    told = ""
    try:
        while True:
            try:
                await stub.Join(request, timeout=_TIMEOUT_S)
            except ServiceError as error:
                if error.message != told:
                    told = error.message
                    log.warning("this node cannot join its cluster yet", asked=list(addresses), why=told)
                await asyncio.sleep(_PAUSE_S)
            else:
                log.info("this node has joined its cluster as a learner")
                return
    finally:
        await channel.close()
