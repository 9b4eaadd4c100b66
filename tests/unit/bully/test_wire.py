"""Bully's messages come from whom they name, as the certificate of the caller says."""

import pytest

from order_executor.bully.core import Kind, Message
from order_executor.bully.wire import BullyServicer
from utils.identity.spiffe import Identity
from utils.pb import bully_pb2 as pb
from utils.rpc.dispatch import CallContext
from utils.rpc.errors import PermissionDenied

PEERS = {f"order_executor_{number}": f"h{number}:1" for number in (1, 2, 3)}
LEADS = pb.BullyMessage(sender="order_executor_3", kind=pb.BullyMessage.KIND_COORDINATOR, epoch=7)


@pytest.fixture
def received() -> list[Message]:
    return []


@pytest.fixture
def servicer(received: list[Message]) -> BullyServicer:
    return BullyServicer("order_executor_1", PEERS, lambda message, _epoch: received.append(message))


async def test_a_node_speaks_for_itself(servicer: BullyServicer, received: list[Message]) -> None:
    await servicer.Tell(LEADS, CallContext(0, Identity("order_executor", "order_executor_3")))
    assert received == [Message("order_executor_3", "order_executor_1", Kind.COORDINATOR, leads=False)]


async def test_a_node_that_speaks_for_another_is_not_heard(servicer: BullyServicer, received: list[Message]) -> None:
    with pytest.raises(PermissionDenied, match="order_executor_2 cannot speak for 'order_executor_3'"):
        await servicer.Tell(LEADS, CallContext(0, Identity("order_executor", "order_executor_2")))
    assert received == []


async def test_in_clear_text_a_name_is_all_there_is(servicer: BullyServicer, received: list[Message]) -> None:
    await servicer.Tell(LEADS, CallContext(0))
    assert len(received) == 1
