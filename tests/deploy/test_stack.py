"""The stack says what docker-compose.yaml says, or why not."""

import copy
from pathlib import Path
from typing import Any

import pytest

from deploy.compose_file import processes, read_compose
from deploy.secret_files import SecretFiles
from deploy.swarm import stack as stack_module
from deploy.swarm.stack import Images, stack, waves
from utils.identity.distribution import Member

Described = dict[str, Any]
CLUSTERS = ("order_queue_", "order_executor_", "db-node")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SecretFiles:
    files = SecretFiles(tmp_path_factory.mktemp("authority"))
    files.make(Member.parse(f"{process.module}/{process.node_id}") for process in processes())
    return files


@pytest.fixture(scope="module")
def described(files: SecretFiles) -> Described:
    return stack(files, Images("registry.example.org/", "7"))


def test_every_process_is_a_service(described: Described) -> None:
    assert described["services"].keys() == {
        *(process.service for process in processes()), "postgres", "frontend",
    }  # fmt: skip


def test_what_swarm_understands_is_said_in_the_same_words(described: Described) -> None:
    compose = read_compose()
    for name, service in described["services"].items():
        source = compose["services"][name]
        for key in ("command", "networks", "init", "read_only", "cap_drop", "stop_grace_period", "logging"):
            assert service.get(key) == source.get(key), f"{key} of {name}"
        environment = {key: value for key, value in service.get("environment", {}).items() if key != "TLS_DIR"}
        assert environment == {
            key: value for key, value in source.get("environment", {}).items() if key != "TLS_DIR"
        }  # fmt: skip
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"] == source["mem_limit"]
        assert limits["pids"] == source["pids_limit"]
        assert service["image"] == f"registry.example.org/{source['image']}:7"
    assert {name: bool(network.get("internal")) for name, network in described["networks"].items()} == {
        name: bool((network or {}).get("internal")) for name, network in compose["networks"].items()
    }


def test_what_nobody_has_thought_of_is_an_error(files: SecretFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    compose = copy.deepcopy(read_compose())
    compose["services"]["order_queue_1"]["devices"] = ["/dev/kvm"]
    monkeypatch.setattr(stack_module, "read_compose", lambda: compose)
    with pytest.raises(ValueError, match="devices"):
        stack(files, Images())


def test_a_node_stays_where_its_volume_is(described: Described) -> None:
    for name, service in described["services"].items():
        on_disk = [volume["target"] for volume in service["volumes"] if volume["type"] == "volume"]
        assert on_disk in ([], ["/data"])
        constraints = service["deploy"].get("placement", {}).get("constraints", [])
        number = name[-1] if name.startswith(CLUSTERS) else "1"
        assert constraints == ([f"node.labels.bookstore.{number} == true"] if on_disk else []), name


def test_one_node_of_a_cluster_changes_at_a_time(described: Described) -> None:
    in_order = waves(list(described["services"]))
    assert sorted(name for wave in in_order for name in wave) == sorted(described["services"])
    for wave in in_order:
        for cluster in CLUSTERS:
            assert sum(name.startswith(cluster) for name in wave) <= 1
    assert in_order[-1] == ["orchestrator", "frontend"]


def test_only_the_page_and_the_orchestrator_are_published(described: Described) -> None:
    published = {name: service["ports"] for name, service in described["services"].items() if service["ports"]}
    assert {name: [port["published"] for port in ports] for name, ports in published.items()} == {
        "frontend": [8080],
        "orchestrator": [8081],
    }


def test_each_service_has_its_own_secrets_alone(described: Described) -> None:
    for process in processes():
        sources = {secret["source"] for secret in described["services"][process.service]["secrets"]}
        assert {f"{process.node_id}.{name}.pem" for name in ("ca", "cert", "key")} <= sources
        owners = {source.split(".")[0] for source in sources}
        assert owners <= {process.node_id, process.module}
    assert described["services"]["frontend"]["secrets"] == []
    for secret in described["secrets"].values():
        assert Path(secret["file"]).stat().st_size > 0
        assert len(secret["name"]) <= 64


def test_another_content_is_another_secret(files: SecretFiles, described: Described) -> None:
    (key,) = files.granted_paths("orchestrator")
    before = key.read_bytes()
    try:
        key.chmod(0o600)
        key.write_bytes(b"another")
        changed = stack(files, Images())
    finally:
        key.write_bytes(before)
    different = {
        name for name in described["secrets"] if changed["secrets"][name]["name"] != described["secrets"][name]["name"]
    }
    assert different == {"orchestrator.order_id_key"}


def test_no_check_waits_for_others(described: Described) -> None:
    """Whoever is not healthy has no name in a swarm: nodes that wait for a leader must have one."""
    for name, service in described["services"].items():
        test = " ".join(service["healthcheck"]["test"])
        assert "readyz" not in test, name
        assert "utils.health_check" not in test, name


def test_on_etcd_every_log_is_there_and_its_members_live_on_three_machines(files: SecretFiles) -> None:
    usual, on_etcd = stack(files, Images()), stack(files, Images(), on_etcd=True)
    members = on_etcd["services"].keys() - usual["services"].keys()
    assert members == {"etcd_1", "etcd_2", "etcd_3"}
    for member in members:
        service = on_etcd["services"][member]
        assert service["deploy"]["placement"]["constraints"] == [f"node.labels.bookstore.{member[-1]} == true"]
        assert service["networks"] == ["etcd"]
        assert {"type": "volume", "source": member, "target": "/data"} in service["volumes"]
    assert on_etcd["networks"]["etcd"]["internal"]
    assert on_etcd["networks"]["etcd"]["driver_opts"] == {"encrypted": "true"}
    for name in usual["services"]:
        service, before = on_etcd["services"][name], usual["services"][name]
        if name.startswith(CLUSTERS):
            assert service["environment"]["ETCD_ENDPOINTS"] == "etcd_1:2379,etcd_2:2379,etcd_3:2379"
            assert service["networks"] == [*before["networks"], "etcd"]
            assert service["deploy"] == before["deploy"]
        else:
            assert service == before
