"""What an operator does to a bookstore in containers while customers order: look, hand over, replace, upgrade."""

import os
import subprocess

import pytest

from bookstore.shop_client import CLUSTERS
from tests.containers.compose import FILES, ROOT, SETTINGS, Compose, docker
from tests.containers.customers import CLIENTS, PLENTY, bookstore, checkout, customers, stock

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]

# As published on loopback.
FIRST_PORTS = {"order_queue": 50071, "order_executor": 50061, "db_node": 50066}
PORTS_INSIDE = {"order_queue": 50054, "order_executor": 50051, "db_node": 50052}
UPGRADE_TIMEOUT_S = 1_500


def cluster(name: str, *action: str) -> str:
    """`python -m bookstore cluster`, from the host."""
    nodes = ",".join(f"127.0.0.1:{FIRST_PORTS[name] + number}" for number in range(3))
    return bookstore("cluster", "--nodes", nodes, action[0], name, *action[1:])


def leader(name: str) -> str:
    (line,) = [line for line in cluster(name, "status").splitlines() if " leader " in line]
    return line.split()[0]


@pytest.mark.parametrize("name", FIRST_PORTS)
def test_status_shows_every_node_and_its_leader(compose: Compose, name: str) -> None:
    told = cluster(name, "status")
    assert [node for node in CLUSTERS[name] if node in told] == list(CLUSTERS[name])
    assert "does not answer" not in told
    assert leader(name) in CLUSTERS[name]


@pytest.mark.parametrize("name", FIRST_PORTS)
def test_leadership_is_handed_to_whom_the_operator_names(compose: Compose, name: str) -> None:
    follower = next(node for node in CLUSTERS[name] if node != leader(name))
    assert f"{follower} leads now" in cluster(name, "transfer", follower)
    assert leader(name) == follower
    assert checkout("1984")["status"] == "Order Approved"


def test_every_node_takes_a_snapshot(compose: Compose) -> None:
    assert cluster("db_node", "snapshot").count("a snapshot of the entries up to") == 3


@pytest.mark.parametrize("name", FIRST_PORTS)
def test_a_node_whose_disk_is_lost_is_replaced_while_customers_order(compose: Compose, name: str) -> None:
    kept_by = leader(name)
    lost = next(node for node in CLUSTERS[name] if node != kept_by)
    with customers("Pride and Prejudice") as ordering:
        compose("rm", "--stop", "--force", lost)
        # Held by another container, the volume stays, and all that was in it goes.
        docker("exec", compose.container("chaos"), "sh", "-c", f"rm -rf /full/{lost}/*")
        join = {"RAFT_JOIN": f"{kept_by}:{PORTS_INSIDE[name]}"}
        compose("up", "--detach", "--no-deps", lost, settings=join)
        assert f"{lost} is a voter" in cluster(name, "replace", lost, "--wait", "240")
        ordering.wait_for(2 * CLIENTS)
    assert "does not answer" not in cluster(name, "status")


def running(compose: Compose) -> dict[str, str]:
    """The id of each container that runs, by service."""
    found = compose.inspect().items()
    return {service: container["Id"] for service, container in found if container["State"]["Running"]}


def test_a_rolling_upgrade_fails_no_order(compose: Compose) -> None:
    before = running(compose)
    with customers("To Kill a Mockingbird") as ordering:
        upgrade = subprocess.run(
            ["bash", "docker/rolling-upgrade.sh"],
            cwd=ROOT,
            env={**os.environ, **SETTINGS, "COMPOSE_PROJECT_NAME": compose.project, "COMPOSE_FILE": ":".join(FILES)},
            capture_output=True,
            text=True,
            timeout=UPGRADE_TIMEOUT_S,
            check=False,
        )
        assert upgrade.returncode == 0, upgrade.stdout + upgrade.stderr
        ordering.wait_for(2 * CLIENTS)
    assert stock("To Kill a Mockingbird") == PLENTY - len(set(ordering.order_ids))
    after = running(compose)
    assert before.keys() == after.keys()
    # What is there for tests only, and holds the small disks.
    assert {service for service in before if before[service] == after[service]} == {"chaos"}
