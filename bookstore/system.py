"""What the system consists of when it runs as local processes: which, with which settings, on which ports."""

import os
import random
import secrets
import socket
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

HOST: Final = "127.0.0.1"
PAGE: Final = "frontend"
ORCHESTRATOR: Final = "orchestrator"
POSTGRES: Final = "postgres"
TRIO: Final = ("transaction_verification", "fraud_detection", "suggestions")
PAYMENT: Final = "payment-service"
# Clusters by the module that their nodes run, with how the nodes are called and where their ports begin.
_NAMES: Final = {"db_node": "db-node", "order_queue": "order_queue_", "order_executor": "order_executor_"}
_FIRST_PORTS: Final = {"db_node": 15066, "order_queue": 15071, "order_executor": 15061}
CLUSTER_NODES: Final = 3
CLUSTER_NODES_MAX: Final = 5
# Executors by Bully: the highest leads, and takes over again when it is back.
BULLY_EXECUTORS: Final = 4


def nodes_of(cluster: str, count: int = CLUSTER_NODES) -> tuple[str, ...]:
    """The names of the first `count` nodes."""
    return tuple(f"{_NAMES[cluster]}{number}" for number in range(1, count + 1))


QUEUE_NODES: Final = nodes_of("order_queue")
EXECUTOR_NODES: Final = nodes_of("order_executor")
DB_NODES: Final = nodes_of("db_node")


def usual_ports(cluster_nodes: int = CLUSTER_NODES) -> dict[str, int]:
    """The port of each process, with so many nodes in each cluster; of executors by Bully there are four."""
    executors = BULLY_EXECUTORS if os.environ.get("EXECUTOR_ELECTION") == "bully" else cluster_nodes
    counts = {"order_executor": executors, "db_node": cluster_nodes, "order_queue": cluster_nodes}
    # Below 32768, where the kernel's ephemeral ports begin.
    return {
        PAGE: 8080,
        ORCHESTRATOR: 8081,
        "fraud_detection": 15051,
        "transaction_verification": 15052,
        "suggestions": 15053,
        **{
            node: _FIRST_PORTS[cluster] + number
            for cluster, count in counts.items()
            for number, node in enumerate(nodes_of(cluster, count))
        },
        PAYMENT: 15080,
        POSTGRES: 15432,
    }


PORTS: Final = usual_ports()


@dataclass(frozen=True)
class ProcessSpec:
    """One process: its identity, what to run, and how to tell that it is healthy."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    probe: Literal["grpc", "http", "postgres"]


# Environment variables that only one process gets, by its name.
SettingsByProcess = Mapping[str, Mapping[str, str]]


def free_ports(names: Collection[str] = PORTS) -> dict[str, int]:
    """A port for each process that nobody listens on now, for a second system beside the first."""
    ports: dict[str, int] = {}
    candidates = random.SystemRandom().sample(range(20_000, 32_000), 400)
    for name in names:
        while name not in ports:
            port = candidates.pop()
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)):
                    ports[name] = port
    return ports


def ports_in_use(ports: Mapping[str, int]) -> dict[str, int]:
    """Those of `ports` that somebody listens on."""

    def in_use(port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, port)) == 0

    return {name: port for name, port in ports.items() if in_use(port)}


def secret(data_directory: Path, name: str) -> str:
    """A random secret that is made once and kept in the data directory, readable by its owner only."""
    path = data_directory / "secrets" / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(32))
        partial.rename(path)
    return path.read_text()


def processes(
    data_directory: Path, ports: Mapping[str, int], database_url: str, own_settings: SettingsByProcess
) -> list[ProcessSpec]:
    """Every process but PostgreSQL, in the order in which they are best started; as many nodes as have ports."""
    clusters = {
        cluster: tuple(node for node in nodes_of(cluster, CLUSTER_NODES_MAX) if node in ports) for cluster in _NAMES
    }
    specs = [
        *(
            _cluster_node(cluster, node, nodes, data_directory, ports)
            for cluster, nodes in clusters.items()
            for node in nodes
        ),
        _service("payment", PAYMENT, ports, {"DATA_DIR": str(data_directory / PAYMENT)}),
        *(_service(name, name, ports, {}) for name in TRIO),
    ]
    # Last, as what they talk to; first in the eyes of a visitor.
    specs.append(_web(ORCHESTRATOR, ports, {"CORS_ORIGINS": ",".join(page_origins(ports))}))
    specs.append(_web(PAGE, ports, {"ORCHESTRATOR_PORT": str(ports[ORCHESTRATOR])}))
    shared = {
        "ORDER_QUEUE": _addresses(clusters["order_queue"], ports),
        "ORDER_EXECUTOR": _addresses(clusters["order_executor"], ports),
        "DB_NODES": _addresses(clusters["db_node"], ports),
        "PAYMENT_SERVICE": f"{HOST}:{ports[PAYMENT]}",
        "TRANSACTION_VERIFICATION": f"{HOST}:{ports['transaction_verification']}",
        "FRAUD_DETECTION": f"{HOST}:{ports['fraud_detection']}",
        "SUGGESTIONS": f"{HOST}:{ports['suggestions']}",
        "DATABASE_URL": database_url,
        "ORDER_ID_KEY": secret(data_directory, "order_id_key"),
        "FRAUD_KEY": secret(data_directory, "fraud_key"),
        # Numerical libraries that start a thread per core stand in the way of 18 processes on two of them.
        "OPENBLAS_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        # Its remarks are not in the format of our logs.
        "GRPC_VERBOSITY": "ERROR",
        "PYTHONUNBUFFERED": "1",
    }
    # A process gets the user's own environment too: that is where GOOGLE_API_KEY or PAYMENT_SEED come from.
    return [
        replace(spec, environment={**os.environ, **shared, **spec.environment, **own_settings.get(spec.name, {})})
        for spec in specs
    ]


def page_origins(ports: Mapping[str, int]) -> tuple[str, str]:
    """Where the page comes from, as browsers say it."""
    return f"http://localhost:{ports[PAGE]}", f"http://127.0.0.1:{ports[PAGE]}"


def _addresses(nodes: tuple[str, ...], ports: Mapping[str, int]) -> str:
    return ",".join(f"{HOST}:{ports[node]}" for node in nodes)


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)


def _service(module: str, node_id: str, ports: Mapping[str, int], extra: Mapping[str, str]) -> ProcessSpec:
    environment = {"NODE_ID": node_id, "PORT": str(ports[node_id]), "BIND_HOST": HOST, **extra}
    return ProcessSpec(node_id, _module(module), environment, ports[node_id], "grpc")


def _web(module: str, ports: Mapping[str, int], extra: Mapping[str, str]) -> ProcessSpec:
    return ProcessSpec(
        module, _module(module), {**_service(module, module, ports, extra).environment}, ports[module], "http"
    )


def _cluster_node(
    module: str, node: str, nodes: tuple[str, ...], data_directory: Path, ports: Mapping[str, int]
) -> ProcessSpec:
    peers = ",".join(f"{peer}={HOST}:{ports[peer]}" for peer in nodes)
    extra = {"DATA_DIR": str(data_directory / node)}
    if module == "db_node":
        role = "primary" if node == nodes[0] else "replica"
        extra |= {
            "DB_NODE_ID": node,
            "DB_PORT": str(ports[node]),
            "DB_PEERS": peers,
            "DB_ROLE": role,
            "DB_NODE_COUNT": str(len(nodes)),
        }
    else:
        extra["RAFT_PEERS"] = peers
    return _service(module, node, ports, extra)
