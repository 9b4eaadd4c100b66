"""docker/etcd.yaml puts every node that has a log onto etcd, and nobody else near it."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
WITH_A_LOG = {f"python -m {module}" for module in ("order_queue", "order_executor", "db_node")}


def services(file: str) -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())["services"]
    return described


def test_all_nodes_with_a_log_are_on_etcd_and_only_they_reach_it() -> None:
    usual, added = services("docker-compose.yaml"), services("docker/etcd.yaml")
    # The executor of a profile is there for Bully, which keeps no log.
    nodes = {
        name for name, service in usual.items() if service.get("command") in WITH_A_LOG and "profiles" not in service
    }
    members = added.keys() - usual.keys()
    assert added.keys() == nodes | members
    endpoints = {f"{member}:2379" for member in members}
    for name in nodes:
        settings = added[name]["environment"]
        assert [settings[setting] for setting in ("STORE", "QUEUE", "EXECUTOR_ELECTION")] == ["etcd"] * 3
        assert set(settings["ETCD_ENDPOINTS"].split(",")) == endpoints
    assert all("etcd" not in service.get("networks", []) for service in usual.values())


def test_the_members_know_each_other_and_are_contained_as_the_others_are() -> None:
    usual, added = services("docker-compose.yaml"), services("docker/etcd.yaml")
    members = {name: service for name, service in added.items() if name not in usual}
    cluster = ",".join(f"{name}=http://{name}:2380" for name in members)
    for name, member in members.items():
        environment = member["environment"]
        assert environment["ETCD_INITIAL_CLUSTER"] == cluster
        assert environment["ETCD_NAME"] == name
        assert environment["ETCD_ADVERTISE_CLIENT_URLS"] == f"http://{name}:2379"
        assert environment["ETCD_INITIAL_ADVERTISE_PEER_URLS"] == f"http://{name}:2380"
        assert member["volumes"] == [f"{name}:/data"]
        assert member["networks"] == ["etcd"]
        for bound in ("read_only", "cap_drop", "security_opt", "pids_limit", "init", "restart"):
            assert member[bound] == usual["order_queue_1"][bound], bound
