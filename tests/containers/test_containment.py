"""What every container may not do, and whom it cannot reach."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.containers.compose import Compose, docker

pytestmark = [pytest.mark.system, pytest.mark.timeout(2_400)]

# They run once, as root with few capabilities, with no network, and end.
MAKE_SECRETS = ("secrets", "certificates")
# It has no network either, and writes to each process's volume with its certificate.
AUTHORITY = "authority"
# It is there for tests only.
CHAOS = "chaos"


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return dict(variable.split("=", 1) for variable in container["Config"]["Env"])


def _writable(container: dict[str, Any]) -> set[str]:
    return {mount["Destination"] for mount in container["Mounts"] if mount["RW"]}


def _may_write(container: dict[str, Any], path: str) -> bool:
    is_authority = container["Config"]["Labels"]["com.docker.compose.service"] == AUTHORITY
    return path == "/data" or (is_authority and path.startswith("/granted/"))


# Each is given what the engine says of a container.
RULES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "the root file system is read-only": lambda it: it["HostConfig"]["ReadonlyRootfs"] is True,
    "temporary files are few and in memory": lambda it: it["HostConfig"]["Tmpfs"] == {"/tmp": "size=32m"},
    "only its own data is written": lambda it: all(_may_write(it, path) for path in _writable(it)),
    "no capability is left": lambda it: it["HostConfig"]["CapDrop"] == ["ALL"] and not it["HostConfig"]["CapAdd"],
    "no privilege is gained": lambda it: "no-new-privileges:true" in it["HostConfig"]["SecurityOpt"],
    "it is not privileged": lambda it: it["HostConfig"]["Privileged"] is False,
    "it is not root": lambda it: it["Config"]["User"] not in {"", "root", "0"},
    "its processes are bounded": lambda it: 0 < it["HostConfig"]["PidsLimit"] <= 1280,
    "its memory is bounded": lambda it: 0 < it["HostConfig"]["Memory"] <= 1536 * 1024**2,
    "its processor time is bounded": lambda it: it["HostConfig"]["NanoCpus"] == 10**9,
    "its logs are rotated": lambda it: it["HostConfig"]["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"},
    "it is started again": lambda it: it["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped",
    "an init reaps its orphans": lambda it: it["HostConfig"]["Init"] is True,
    "it has 10 s to stop": lambda it: it["Config"]["StopTimeout"] == 10,
    # The engine does not end a check that takes too long: under load they would pile up.
    "its health is asked, by what ends itself": lambda it: (
        it["Config"]["Healthcheck"]["Test"][:4] == ["CMD", "timeout", "--signal=KILL", "8"]
    ),
    "no secret is in its environment": lambda it: (
        not [name for name in _environment(it) if name.endswith(("KEY", "PASSWORD", "DATABASE_URL"))]
    ),
}


@pytest.fixture(scope="module")
def containers(compose: Compose) -> dict[str, dict[str, Any]]:
    """What the engine says of those that run, by service."""
    running = compose.inspect()
    assert len(running) == 20
    for name in (*MAKE_SECRETS, CHAOS):
        del running[name]
    return running


@pytest.mark.parametrize("rule", RULES)
def test_of_every_container(containers: dict[str, dict[str, Any]], rule: str) -> None:
    assert [name for name, container in containers.items() if not RULES[rule](container)] == []


def test_only_the_page_and_the_orchestrator_are_published_beyond_loopback(
    containers: dict[str, dict[str, Any]],
) -> None:
    public = {
        binding["HostPort"]
        for container in containers.values()
        for bindings in (container["NetworkSettings"]["Ports"] or {}).values()
        for binding in bindings or []
        if binding["HostIp"] != "127.0.0.1"
    }
    assert public == {"8080", "8081"}


SECRETS = {
    "orchestrator": {"order_id_key"},
    "fraud_detection": {"fraud_key", "google_api_key"},
    "suggestions": {"database_url", "google_api_key"},
    "order_queue_1": {"database_url"},
    "order_queue_2": {"database_url"},
    "order_queue_3": {"database_url"},
    "postgres": {"postgres_password"},
}


def test_each_service_has_only_its_own_secrets(compose: Compose, containers: dict[str, dict[str, Any]]) -> None:
    for service in containers:
        listing = compose("exec", "-T", service, "bash", "-c", "ls /run/secrets 2>/dev/null || true")
        assert set(listing.split()) == SECRETS.get(service, set()), service


LISTENING = {
    "frontend": 80,
    "orchestrator": 5000,
    "transaction_verification": 50052,
    "fraud_detection": 50051,
    "suggestions": 50053,
    "order_queue_1": 50054,
    "order_executor_1": 50051,
    "db-node1": 50052,
    "payment-service": 50053,
    "postgres": 5432,
}
CALLS_NOBODY = {"frontend", "postgres", AUTHORITY}


def test_each_service_has_a_certificate_of_its_own(compose: Compose, containers: dict[str, dict[str, Any]]) -> None:
    for service in containers:
        listing = compose("exec", "-T", service, "bash", "-c", "ls /run/identity 2>/dev/null || true").split()
        if service in CALLS_NOBODY:
            assert listing == [], service
            continue
        assert listing == ["ca.pem", "cert.pem", "key.pem"], service
        named = compose("exec", "-T", service, "python", "-m", "utils.identity", "show", "/run/identity")
        assert f"/{service}, at " in named
        mode = compose("exec", "-T", service, "stat", "--format", "%a %U", "/run/identity/key.pem")
        assert mode.split() == ["600", "bookstore"], service


def test_the_authority_is_reached_by_nobody(containers: dict[str, dict[str, Any]]) -> None:
    assert list(containers[AUTHORITY]["NetworkSettings"]["Networks"]) == ["none"]
    others = {mount["Name"] for name, it in containers.items() if name != AUTHORITY for mount in it["Mounts"]}
    (key,) = [mount["Name"] for mount in containers[AUTHORITY]["Mounts"] if mount["Destination"] == "/data"]
    assert key not in others


_TRIO = {"transaction_verification", "fraud_detection", "suggestions"}
_CORE = {"order_queue_1", "order_executor_1", "db-node1"}
REACHED = {
    "frontend": {"orchestrator"},
    "orchestrator": {"frontend", *_TRIO, *_CORE, "payment-service"},
    "transaction_verification": {"orchestrator", *_TRIO},
    "fraud_detection": {"orchestrator", *_TRIO},
    "suggestions": {"orchestrator", *_TRIO, "postgres", "db-node1"},
    "order_queue_1": {"orchestrator", *_CORE, "postgres"},
    "order_executor_1": {"orchestrator", *_CORE, "payment-service"},
    "db-node1": {"orchestrator", *_CORE, "suggestions"},
    "payment-service": {"orchestrator", "order_executor_1"},
    "postgres": {"order_queue_1", "suggestions"},
}
TRY = 'for at in {}; do (timeout 2 bash -c "exec 3<>/dev/tcp/${{at/:/\\/}}") 2>/dev/null && echo ${{at%:*}}; done; true'


def test_each_service_reaches_only_whom_its_networks_have(compose: Compose) -> None:
    addresses = " ".join(f"{service}:{port}" for service, port in LISTENING.items())
    reached = {
        service: set(compose("exec", "-T", service, "bash", "-c", TRY.format(addresses)).split()) - {service}
        for service in LISTENING
    }
    assert reached == {service: others - {service} for service, others in REACHED.items()}


def test_payment_and_postgres_cannot_reach_the_world(containers: dict[str, dict[str, Any]]) -> None:
    networks = {
        name
        for service in ("payment-service", "postgres")
        for name in containers[service]["NetworkSettings"]["Networks"]
    }
    assert len(networks) == 3
    assert {docker("network", "inspect", "--format", "{{.Internal}}", name).strip() for name in networks} == {"true"}
