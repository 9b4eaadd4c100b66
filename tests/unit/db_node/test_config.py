"""What a database node accepts from its environment."""

import pytest

from db_node.config import DatabaseConfig
from utils.config import ConfigError, from_environment

ENVIRONMENT = {
    "DB_NODE_ID": "db-node2",
    "DB_PORT": "15052",
    "DB_PEERS": "db-node1=a:1,db-node2=b:2,db-node3=c:3",
    "DB_NODE_COUNT": "3",
    "DATA_DIR": "/data",
    "ORDER_EXECUTOR": "x:1,y:2",
}


def test_it_reads_the_names_of_the_contract() -> None:
    config = from_environment(DatabaseConfig, ENVIRONMENT)
    assert (config.node_id, config.port, config.role, config.cluster_id) == ("db-node2", 15052, "replica", "db_node")
    assert config.order_executor == ("x:1", "y:2")
    assert config.consensus is config


def test_the_hinted_primary_asks_for_votes_first() -> None:
    replica = from_environment(DatabaseConfig, ENVIRONMENT)
    primary = from_environment(DatabaseConfig, ENVIRONMENT | {"DB_ROLE": "primary"})
    assert primary.consensus.election_timeout_ms < replica.consensus.election_timeout_ms
    times = {"ELECTION_TIMEOUT_MS": "700", "HEARTBEAT_INTERVAL_MS": "200"}
    slow = from_environment(DatabaseConfig, ENVIRONMENT | {"DB_ROLE": "primary"} | times)
    assert slow.consensus.election_timeout_ms == 600


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DB_NODE_COUNT", "5", "DB_NODE_COUNT is 5, but DB_PEERS names 3 nodes"),
        ("DB_ROLE", "leader", "DB_ROLE must be one of primary, replica"),
        ("DB_NODE_ID", "db-node4", "db-node4 is not among its own peers"),
    ],
)
def test_a_contradiction_is_named(variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_environment(DatabaseConfig, ENVIRONMENT | {variable: value})
