"""Kills processes of a running bookstore at labelled places, with SIGKILL: each kills itself, if it is told to.

The processes are the product's own, and know nothing of it: what passes between them is wrapped when their interpreter
starts (fail_points/sitecustomize.py). A point is armed by a file that is named like it; who finds it first takes it.
"""

import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from bookstore.shop_client import CLUSTERS
from bookstore.system import PAYMENT
from tests.support.crash_points import ORDER_POINTS, Point

_Call = Callable[..., Awaitable[Any]]

_ARMED, _SPRUNG = "armed", "sprung"
_SERVICES = {"queue": "order_queue", "database": "db_node", "payment": PAYMENT}
_ADDRESSES = {"queue": "ORDER_QUEUE", "database": "DB_NODES", "payment": "PAYMENT_SERVICE"}


def points_of(cluster: str) -> list[Point]:
    """Where a node of this cluster can be killed, or payment. The log is its leader's own: they die together."""
    if cluster == "order_executor":
        return [point for point in ORDER_POINTS if point.victim == "executor"]
    return [point for point in ORDER_POINTS if point.victim == "service" and _SERVICES.get(point.service) == cluster]


def settings(directory: Path) -> dict[str, str]:
    """For the environment of a process; points are armed in `directory`."""
    here = Path(__file__).parent
    return {"PYTHONPATH": f"{here / 'fail_points'}:{here.parents[1]}", "CRASH_POINTS": str(directory)}


def arm(directory: Path, label: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / _SPRUNG).unlink(missing_ok=True)
    (directory / f"{_ARMED}-{label}").touch()


def has_sprung(directory: Path) -> bool:
    return (directory / _SPRUNG).exists()


def install() -> None:
    """In a process that can be a victim; in any other it does nothing."""
    directory, node_id = os.environ.get("CRASH_POINTS"), os.environ.get("NODE_ID", "")
    cluster = next((cluster for cluster, nodes in CLUSTERS.items() if node_id in nodes), node_id)
    if directory is None or not points_of(cluster):
        return
    trap = _Trap(Path(directory))
    if cluster == "order_executor":
        _wrap_calls(trap, {address: name for name in _ADDRESSES for address in os.environ[_ADDRESSES[name]].split(",")})
        _wrap_log(trap)
    else:
        _wrap_service(trap, next(name for name, module in _SERVICES.items() if module == cluster))


class _Trap:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def passed(self, *point: str) -> None:
        try:
            (self._directory / f"{_ARMED}-{Point(*point)}").rename(self._directory / _SPRUNG)
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def _wrap_calls(trap: _Trap, services: Mapping[str, str]) -> None:
    """What an executor asks of others. A poll that brings no order is none."""
    from utils.pb.order_queue_pb2 import DequeueResponse  # noqa: PLC0415
    from utils.rpc.channel import Channel  # noqa: PLC0415

    def trapped(ask: _Call) -> _Call:
        async def call(channel: Channel, method: str, *arguments: Any, **options: Any) -> Any:
            name, service = _name(method), services.get(channel.address, "")
            trap.passed(service, name, "before", "executor")
            response = await ask(channel, method, *arguments, **options)
            if name != "dequeue" or DequeueResponse.FromString(response).orders:
                trap.passed(service, name, "after", "executor")
            return response

        return call

    _wrap(Channel, "call", trapped)


def _wrap_log(trap: _Trap) -> None:
    from order_executor.consensus_election import ConsensusElection  # noqa: PLC0415

    def trapped(propose: _Call) -> _Call:
        async def record(*arguments: Any, **options: Any) -> Any:
            trap.passed("log", "record", "before", "executor")
            results = await propose(*arguments, **options)
            trap.passed("log", "record", "after", "executor")
            return results

        return record

    _wrap(ConsensusElection, "record", trapped)


def _wrap_service(trap: _Trap, service: str) -> None:
    """What a service is asked for. A node that only says who leads has carried out nothing."""
    from utils.rpc import server  # noqa: PLC0415

    def trapped(serve: _Call) -> _Call:
        async def run_unary(method: str, *arguments: Any) -> Any:
            name = _name(method)
            trap.passed(service, name, "before", "service")
            response = await serve(method, *arguments)
            if name != "dequeue" or response.orders:
                trap.passed(service, name, "after", "service")
            return response

        return run_unary

    _wrap(server, "run_unary", trapped)


def _wrap(owner: Any, name: str, trapped: Callable[[_Call], _Call]) -> None:
    setattr(owner, name, trapped(getattr(owner, name)))


def _name(method: str) -> str:
    return method.rpartition("/")[2].lower()
