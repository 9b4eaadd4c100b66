import pytest

from order_queue.config import QueueConfig
from utils.config import ConfigError, from_environment

ENVIRONMENT = {
    "NODE_ID": "order_queue_2",
    "PORT": "15072",
    "RAFT_PEERS": "order_queue_1=127.0.0.1:15071,order_queue_2=127.0.0.1:15072,order_queue_3=127.0.0.1:15073",
    "DATA_DIR": "/data",
    "DATABASE_URL": "host=/run dbname=bookstore password=hidden",
}


def test_a_node_is_configured_by_its_environment() -> None:
    config = from_environment(QueueConfig, {**ENVIRONMENT, "QUEUE_WAITING_MAX": "5"})
    assert (config.cluster_id, config.pending_max, config.unrecorded_max) == ("order_queue", 5, 100_000)
    assert config.peers[config.node_id].endswith(str(config.port))
    assert "hidden" not in repr(config)


@pytest.mark.parametrize("name", ["QUEUE_WAITING_MAX", "QUEUE_UNRECORDED_MAX", "QUEUE_RECORD_INTERVAL_MS"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_wrong_bound_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        from_environment(QueueConfig, {**ENVIRONMENT, name: value})
