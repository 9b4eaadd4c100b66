import pytest

from orchestrator.readiness import Component, NodeStatus, Probed, Readiness, cluster_component


def leader(node_id: str = "n1", term: int = 3, *, ready: bool = True) -> NodeStatus:
    return NodeStatus(node_id, "leader", term, node_id, ready)


def follower(node_id: str, leader_id: str = "n1", term: int = 3) -> NodeStatus:
    return NodeStatus(node_id, "follower", term, leader_id, ready=False)


@pytest.mark.parametrize(
    "statuses",
    [
        [leader(), follower("n2"), follower("n3")],
        [leader(), follower("n2")],
        # A deposed leader that has not noticed yet.
        [leader(), follower("n2"), leader("n3", term=2)],
    ],
)
def test_a_cluster_is_ready_when_most_nodes_follow_a_ready_leader(statuses: list[NodeStatus]) -> None:
    assert cluster_component(statuses, 3).ready
    assert "n1" in cluster_component(statuses, 3).detail


@pytest.mark.parametrize(
    "statuses",
    [
        [],
        [leader()],
        [leader(ready=False), follower("n2"), follower("n3")],
        [leader(), follower("n2", leader_id="", term=4), follower("n3", leader_id="", term=4)],
        [follower("n1"), follower("n2"), follower("n3")],
    ],
    ids=["nobody", "alone", "no entry of its own term", "a newer term", "a leader that is gone"],
)
def test_a_cluster_without_such_a_leader_is_not(statuses: list[NodeStatus]) -> None:
    assert not cluster_component(statuses, 3).ready


def test_every_component_is_told() -> None:
    probed = Probed({"database": [leader(), follower("n2")]}, {"payment": "", "suggestions": "is not ready yet"})
    components = Readiness(
        lambda: probed, {"order_queue": 3, "database": 3}, lambda: Component(ready=True, detail="full")
    ).components()
    assert {name: component.ready for name, component in components.items()} == {
        "order_queue": False,
        "database": True,
        "payment": True,
        "suggestions": False,
        "shelf": True,
    }
    assert components["suggestions"] == Component(ready=False, detail="is not ready yet")
