"""Settings of an executor, and the pauses between its tries."""

import pytest

from order_executor.config import ExecutorConfig
from order_executor.retry_policy import POLL, Backoff, pause_before_s
from order_executor.rotation import rotate_after
from tests.unit.order_executor.world import order_id
from utils.config import ConfigError, from_environment
from utils.two_phase_commit.actions import Complete, RecordAsFinished, SendDecision, SendPrepare, TryAgain
from utils.two_phase_commit.messages import Attempt, Decision

ENVIRONMENT = {
    "NODE_ID": "order_executor_1",
    "PORT": "15061",
    "RAFT_PEERS": "order_executor_1=127.0.0.1:15061",
    "DATA_DIR": "/data",
    "ORDER_QUEUE": "127.0.0.1:15071,127.0.0.1:15072",
    "DB_NODES": "127.0.0.1:15066",
    "PAYMENT_SERVICE": "127.0.0.1:15080",
}


def test_a_complete_environment_is_enough() -> None:
    config = from_environment(ExecutorConfig, ENVIRONMENT)
    assert config.order_queue == ("127.0.0.1:15071", "127.0.0.1:15072")
    assert (config.in_flight_max, config.leadership_rotation, config.cluster_id) == (64, "never", "order_executor")


def test_rotation_is_never_or_after_so_many_orders() -> None:
    assert rotate_after("never") is None
    assert rotate_after("every:1") == 1
    assert rotate_after("every:250") == 250
    assert from_environment(ExecutorConfig, {**ENVIRONMENT, "LEADERSHIP_ROTATION": "every:2"}).leadership_rotation


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEADERSHIP_ROTATION", "always"),
        ("LEADERSHIP_ROTATION", "every"),
        ("LEADERSHIP_ROTATION", "every:0"),
        ("LEADERSHIP_ROTATION", "every:-1"),
        ("LEADERSHIP_ROTATION", "never:1"),
        ("EXECUTOR_ELECTION", "oldest"),
        ("EXECUTOR_IN_FLIGHT_MAX", "0"),
        ("EXECUTOR_IN_FLIGHT_MAX", "1000"),
        ("ORDER_QUEUE", ","),
        ("DB_NODES", ","),
        ("PAYMENT_SERVICE", ""),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        from_environment(ExecutorConfig, {**ENVIRONMENT, name: value})


def test_the_highest_node_leads_or_each_in_its_turn_but_not_both() -> None:
    both = {**ENVIRONMENT, "EXECUTOR_ELECTION": "bully", "LEADERSHIP_ROTATION": "every:1"}
    with pytest.raises(ConfigError, match="LEADERSHIP_ROTATION needs EXECUTOR_ELECTION=raft or etcd"):
        from_environment(ExecutorConfig, both)


def test_pauses_grow_to_a_limit_and_stay_there() -> None:
    backoff = Backoff(first_s=0.1, longest_s=1.0)
    assert backoff.pause_s(0) == 0
    for tries, longest_s in ((1, 0.1), (2, 0.2), (4, 0.8), (5, 1.0), (1_000_000, 1.0)):
        pauses = [backoff.pause_s(tries) for _ in range(50)]
        assert all(longest_s / 2 <= pause <= longest_s for pause in pauses)
        assert len(set(pauses)) > 1


def test_nothing_waits_so_long_that_no_order_ends_within_three_seconds() -> None:
    attempt = Attempt(order_id(1), 1, 1)
    for tries in (1, 10, 10_000):
        for action in (
            SendPrepare("payment", attempt, tries),
            TryAgain(attempt, tries, "busy"),
            SendDecision("payment", Decision(attempt, commit=True), tries),
            Complete(order_id(1), True, "CODE", (), tries),
            RecordAsFinished(order_id(1), tries),
        ):
            assert 0 < pause_before_s(action) <= 1
        assert POLL.pause_s(tries) <= 1
