"""Which engine keeps a node's state: said by the settings, and not changed by accident."""

from pathlib import Path

import pytest

from db_node.config import DatabaseConfig
from order_executor.config import ExecutorConfig
from order_queue.config import QueueConfig
from tests.unit.order_executor.test_config import ENVIRONMENT as EXECUTOR
from utils.config import ConfigError, from_environment
from utils.engines import claim
from utils.etcd.config import EtcdConfig

NODE = {"NODE_ID": "node_1", "PORT": "15071", "RAFT_PEERS": "node_1=127.0.0.1:15071", "DATA_DIR": "/data"}
DATABASE = {
    "DB_NODE_ID": "node_1",
    "DB_PEERS": "node_1=127.0.0.1:15071",
    "DB_NODE_COUNT": "1",
    "DATA_DIR": "/data",
    "ORDER_EXECUTOR": "127.0.0.1:15061",
}
BY_VARIABLE: dict[str, tuple[type[EtcdConfig], dict[str, str]]] = {
    "QUEUE": (QueueConfig, NODE),
    "STORE": (DatabaseConfig, DATABASE),
    "EXECUTOR_ELECTION": (ExecutorConfig, EXECUTOR),
}


def claim_election(data_dir: Path, kind: str) -> None:
    claim(data_dir, "election", "EXECUTOR_ELECTION", kind, "let the executors finish every order first")


@pytest.mark.parametrize(
    ("before", "after"), [("raft", "bully"), ("bully", "raft"), ("raft", "etcd"), ("etcd", "bully")]
)
def test_another_kind_than_before_is_refused_with_the_way_out(tmp_path: Path, before: str, after: str) -> None:
    data_dir = tmp_path / "node"
    claim_election(data_dir, before)
    claim_election(data_dir, before)
    with pytest.raises(ConfigError, match=rf"EXECUTOR_ELECTION is {after}.*finish every order.*{data_dir}/election"):
        claim_election(data_dir, after)
    (data_dir / "election").write_text(after)
    claim_election(data_dir, after)


def test_data_from_before_there_was_a_choice_belongs_to_raft(tmp_path: Path) -> None:
    (tmp_path / "raft").mkdir()
    for kind in ("bully", "etcd"):
        with pytest.raises(ConfigError):
            claim_election(tmp_path, kind)
    claim_election(tmp_path, "raft")


@pytest.mark.parametrize("variable", BY_VARIABLE)
def test_a_service_on_etcd_must_be_told_where_it_is(variable: str) -> None:
    config_type, environment = BY_VARIABLE[variable]
    on_etcd = {**environment, variable: "etcd"}
    with pytest.raises(ConfigError, match=f"{variable} is etcd, and ETCD_ENDPOINTS names no member"):
        from_environment(config_type, on_etcd)
    config = from_environment(config_type, {**on_etcd, "ETCD_ENDPOINTS": "127.0.0.1:2379,127.0.0.1:22379"})
    assert config.etcd_endpoints == ("127.0.0.1:2379", "127.0.0.1:22379")
    assert config.etcd_credentials is None


@pytest.mark.parametrize("variable", BY_VARIABLE)
def test_another_engine_is_refused(variable: str) -> None:
    config_type, environment = BY_VARIABLE[variable]
    with pytest.raises(ConfigError, match=f"{variable} must be one of raft, etcd"):
        from_environment(config_type, {**environment, variable: "zookeeper"})


def test_a_certificate_comes_with_its_key() -> None:
    alone = {**NODE, "ETCD_CERTIFICATE": "-----BEGIN CERTIFICATE-----"}
    with pytest.raises(ConfigError, match="ETCD_CERTIFICATE and ETCD_KEY are given together"):
        from_environment(QueueConfig, alone)
