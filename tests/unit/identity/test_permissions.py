"""The table has a row for each method that anybody can serve, and for nothing else."""

import pkgutil
from importlib import import_module

import pytest
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2

import utils.pb
from utils.identity.permissions import OPERATOR, SAME, SERVICES, TABLE, may_call
from utils.identity.spiffe import Identity

# Others' protocols, such as etcd's, are served by others.
OURS = ("bookstore.", "grpc.health.")


def methods() -> set[str]:
    names = [module.name for module in pkgutil.iter_modules(utils.pb.__path__) if module.name.endswith("_pb2")]
    ours: list[FileDescriptor] = [import_module(f"utils.pb.{name}").DESCRIPTOR for name in names]
    files = [health_pb2.DESCRIPTOR, *ours]
    return {
        f"/{service.full_name}/{method.name}"
        for file in files
        for service in file.services_by_name.values()
        if service.full_name.startswith(OURS)
        for method in service.methods
    }


def rows() -> dict[str, tuple[str, ...]]:
    return {f"/{service}/{method}": callers for service, of in TABLE.items() for method, callers in of.items()}


def test_every_method_of_every_proto_has_a_row_and_no_row_is_for_nothing() -> None:
    assert rows().keys() == methods()


def test_rows_name_services_that_there_are() -> None:
    assert {caller for callers in rows().values() for caller in callers} <= {*SERVICES, SAME}


def test_every_method_can_be_called_by_somebody() -> None:
    assert [method for method, callers in rows().items() if not callers] == []


@pytest.mark.parametrize("method", ["/bookstore.v1.OrderQueueService/Drop", "/x.Y/Z", "", "/", "Enqueue"])
def test_what_is_not_in_the_table_is_refused_to_everybody(method: str) -> None:
    callee = Identity("order_queue", "order_queue_1")
    assert not [name for name in SERVICES if may_call(Identity(name, name), callee, method)]


def test_the_same_service_is_the_one_that_is_called() -> None:
    deliver = "/bookstore.v1.raft.RaftService/Deliver"
    queue, other, database = Identity("order_queue", "a"), Identity("order_queue", "b"), Identity("db_node", "c")
    assert may_call(queue, other, deliver)
    assert not may_call(database, other, deliver)
    assert not may_call(Identity(OPERATOR, "operator"), other, deliver)


def test_no_service_is_called_what_the_table_calls_the_same_service() -> None:
    with pytest.raises(ValueError, match="SPIFFE"):
        Identity(SAME, "x")
