"""What schemas do not see: names that lead nowhere, and facts that differ from the code's or docker-compose.yaml's."""

import dataclasses
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import db_node.config
import fraud_detection.config
import orchestrator.config
import order_executor.config
import order_queue.config
import payment.config
import suggestions.config
import transaction_verification.config
from deploy.compose_file import ROOT, Process, default_of, processes, read_compose
from deploy.kubernetes.secrets import hosts_of, member_of, secrets, workload_of
from deploy.secret_files import SecretFiles
from tests.deploy.manifests import BASE, OVERLAYS, Pod, of_kind, pods
from utils.config import from_environment
from utils.identity.files import TlsFiles

CONFIGURATIONS: Mapping[str, type[Any]] = {
    "order_queue": order_queue.config.QueueConfig,
    "order_executor": order_executor.config.ExecutorConfig,
    "db_node": db_node.config.DatabaseConfig,
    "payment": payment.config.Config,
    "orchestrator": orchestrator.config.Config,
    "transaction_verification": transaction_verification.config.Config,
    "fraud_detection": fraud_detection.config.Config,
    "suggestions": suggestions.config.Config,
}
PROCESSES = {process.node_id: process for process in processes()}
TRIO = ("transaction_verification", "fraud_detection", "suggestions")
everywhere = pytest.mark.parametrize("directory", [BASE, *OVERLAYS], ids=lambda path: path.name)


def ours(directory: Path) -> Iterator[tuple[Pod, Process]]:
    """Each pod that runs a service of ours, with what docker-compose.yaml says of it."""
    for pod in pods(directory):
        if "NODE_ID" in pod.environment:
            yield pod, PROCESSES[pod.environment["NODE_ID"]]


@everywhere
def test_every_process_has_a_pod(directory: Path) -> None:
    assert {pod.environment["NODE_ID"] for pod, _ in ours(directory)} == PROCESSES.keys()
    assert {pod.workload for pod in pods(directory)} == {
        *(workload_of(process) for process in PROCESSES.values()), "frontend", "postgres",
    }  # fmt: skip
    for pod, process in ours(directory):
        assert pod.workload == workload_of(process)
        assert pod.container["command"] == ["python", "-m", process.module]
        assert importlib.util.find_spec(f"{process.module}.__main__") is not None


# What a process is told, compared as it understands it, defaults included.


def configuration(process: Process, environment: Mapping[str, str]) -> dict[str, Any]:
    known = {name: value for name, value in environment.items() if not name.endswith("_FILE")}
    known |= {name.removesuffix("_FILE"): "0" * 32 for name in environment if name.endswith("_FILE")}
    return dataclasses.asdict(from_environment(CONFIGURATIONS[process.module], known))


def compose_environment(process: Process, pod: Pod) -> dict[str, str]:
    """With the addresses that the pods have. An orchestrator asks the replicas of its own number."""
    environment = {
        name: default_of(str(value))
        for name, value in read_compose()["services"][process.service]["environment"].items()
    }
    for other in PROCESSES.values():
        hosts = hosts_of(other)
        host = hosts[pod.index] if other.module in TRIO and process.module == "orchestrator" else hosts[0]
        environment = {
            name: re.sub(rf"\b{re.escape(other.service)}:(?=\d)", f"{host}:", value)
            for name, value in environment.items()
        }
    return environment


def differences(process: Process) -> set[str]:
    """A pod cannot be told a role by its number, and all customers come through one load balancer. The addresses of the
    three services are of no use but to orchestrators."""
    return {"role", "http_threads_per_address", *(() if process.module == "orchestrator" else TRIO)}


@everywhere
def test_each_process_is_told_what_it_is_told_in_compose(directory: Path) -> None:
    for pod, process in ours(directory):
        there = configuration(process, pod.environment)
        here = configuration(process, compose_environment(process, pod))
        different = {name for name in here if there[name] != here[name]}
        # An overlay says where the page is.
        assert different - differences(process) <= ({"cors_origins"} if directory != BASE else set()), pod.host


@everywhere
def test_each_container_has_what_it_has_in_compose(directory: Path) -> None:
    services = read_compose()["services"]
    for pod in pods(directory):
        process = PROCESSES.get(pod.environment.get("NODE_ID", ""))
        service = services[process.service if process else pod.workload]
        limits, requests = (pod.container["resources"][kind] for kind in ("limits", "requests"))
        assert limits["memory"] == f"{service['mem_limit']}i".replace("mi", "Mi"), pod.workload
        assert float(limits["cpu"]) == service["cpus"]
        assert pod.container["image"].rpartition("/")[2].partition(":")[0] == service["image"]
        assert _bytes(requests["memory"]) < _bytes(limits["memory"])
        asked = pod.container["env"] if process else []
        assert {variable["name"] for variable in asked if variable["name"].endswith("_FILE")} == {
            name for name in service.get("environment", {}) if process and name.endswith("_FILE")
        }


def _bytes(quantity: str) -> int:
    return int(quantity.removesuffix("Mi")) * 1024**2


# Names that lead somewhere.


def reachable(directory: Path) -> set[str]:
    """host:port of every Service, and of every pod that a headless one gives a name."""
    found = set()
    for name, service in of_kind(directory, "Service").items():
        selected = [pod for pod in pods(directory) if pod.selected_by({"matchLabels": service["spec"]["selector"]})]
        for port in service["spec"]["ports"]:
            ends = [pod for pod in selected if port["targetPort"] in pod.ports]
            assert ends, f"{name}:{port['port']} leads to no pod"
            if service["spec"].get("clusterIP") != "None":
                found.add(f"{name}:{port['port']}")
                continue
            assert {pod.ports[port["targetPort"]] for pod in ends} == {port["port"]}, f"{name} translates no ports"
            found |= {f"{name}:{port['port']}", *(f"{pod.host}:{port['port']}" for pod in ends)}
    return found


@everywhere
def test_every_address_is_a_pods_or_a_services(directory: Path) -> None:
    known = reachable(directory)
    named = {
        address
        for pod in pods(directory)
        for name, value in pod.environment.items()
        if name not in {"CORS_ORIGINS", "GOOGLE_API_BASE_URL"}
        for address in re.findall(r"[\w.-]+:\d+", value)
    }
    assert len(named) > 10
    assert named <= known


@everywhere
def test_the_shop_has_one_address_for_the_page_and_for_the_orchestrator(directory: Path) -> None:
    shop = of_kind(directory, "Service")["shop"]["spec"]
    ends = {
        port["port"]: {pod.workload for pod in pods(directory) if port["targetPort"] in pod.ports}
        for port in shop["ports"]
    }
    assert ends == {8080: {"frontend"}, 8081: {"orchestrator"}}


@everywhere
def test_peers_are_the_pods_of_their_set(directory: Path) -> None:
    clusters = {pod.workload for pod, _ in ours(directory)} & {"order-queue", "order-executor", "db-node"}
    assert len(clusters) == 3
    for cluster in clusters:
        members = [(pod, process) for pod, process in ours(directory) if pod.workload == cluster]
        assert len(members) == 3
        for pod, process in members:
            config = configuration(process, pod.environment)
            assert config["peers"] == {
                member.environment["NODE_ID"]: f"{member.host}:{config['port']}" for member, _ in members
            }


@everywhere
def test_selectors_match(directory: Path) -> None:
    for name, workload in of_kind(directory, "StatefulSet", "Deployment").items():
        spec = workload["spec"]
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"] == {"app": name}
        assert labels["app"] == name
        for constraint in spec["template"]["spec"].get("topologySpreadConstraints", ()):
            assert constraint["labelSelector"] == spec["selector"]
        if workload["kind"] == "StatefulSet":
            assert spec["serviceName"] in of_kind(directory, "Service")
    for name, budget in of_kind(directory, "PodDisruptionBudget").items():
        assert budget["spec"]["maxUnavailable"] == 1
        assert {pod.workload for pod in pods(directory) if pod.selected_by(budget["spec"]["selector"])} == {name}


@everywhere
def test_probes_ask_what_is_there(directory: Path) -> None:
    nginx, routes = (ROOT / "frontend/nginx.conf").read_text(), (ROOT / "orchestrator/routes.py").read_text()
    for pod in pods(directory):
        probes = {kind: pod.container[kind] for kind in ("livenessProbe", "readinessProbe")}
        probes |= {"startupProbe": pod.container["startupProbe"]} if "startupProbe" in pod.container else {}
        for kind, probe in probes.items():
            if "httpGet" in probe:
                assert probe["httpGet"]["port"] in pod.ports
                path = probe["httpGet"]["path"]
                assert f"location = {path} " in nginx if pod.workload == "frontend" else f'"{path}"' in routes
                continue
            command = probe["exec"]["command"]
            assert command[:3] == ["timeout", "--signal=KILL", "8"]
            assert probe["timeoutSeconds"] > 8
            if pod.workload == "postgres":
                assert command[3] == "pg_isready"
                continue
            assert command[3:6] == ["python", "-m", "utils.health_check"]
            assert command[6:-1] == ([] if kind == "readinessProbe" else ["--alive"])
            assert command[-1] == f"localhost:{pod.ports['grpc']}"


# Secrets, certificates and containment.


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SecretFiles, dict[str, dict[str, bytes]]]:
    """What an operator makes."""
    files = SecretFiles(tmp_path_factory.mktemp("secrets"))
    files.make(map(member_of, PROCESSES.values()))
    return files, secrets(files)


@everywhere
def test_every_secret_that_is_named_is_made(directory: Path, made: tuple[SecretFiles, Any]) -> None:
    named = set()
    for pod in pods(directory):
        mounted: dict[str, set[str]] = {}
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        claims = (
            of_kind(directory, "StatefulSet").get(pod.workload, {"spec": {}})["spec"].get("volumeClaimTemplates", ())
        )
        for mount in pod.container["volumeMounts"]:
            volume = volumes.pop(mount["name"], None)
            assert volume or mount["name"] in {claim["metadata"]["name"] for claim in claims}
            if volume is None or "secret" not in volume:
                continue
            name = volume["secret"]["secretName"]
            named.add(name)
            assert mount["readOnly"] is True
            items = volume["secret"].get("items") or [{"key": key, "path": key} for key in made[1][name]]
            assert {item["key"] for item in items} == made[1][name].keys()
            mounted[mount["mountPath"]] = {f"{mount['mountPath']}/{item['path']}" for item in items}
        assert volumes == {}, "a volume that nobody mounts"
        files = set().union(*mounted.values())
        assert {value for name, value in pod.environment.items() if name.endswith("_FILE")} <= files
        if "TLS_DIR" in pod.environment:
            assert {f"{pod.environment['TLS_DIR']}/{name}.pem" for name in ("ca", "cert", "key")} <= files
    assert named == made[1].keys()


@everywhere
def test_certificates_name_the_hosts_that_are_called(
    directory: Path, made: tuple[SecretFiles, Any], tmp_path: Path
) -> None:
    for pod, process in ours(directory):
        own = tmp_path / f"{pod.workload}-{pod.index}"
        own.mkdir()
        for name, data in made[0].tls(process.node_id).items():
            (own / name).write_bytes(data)
        certificate = TlsFiles(own).current().certificate
        assert certificate.identity.service == process.module
        assert certificate.identity.node_id == process.node_id
        assert {pod.host if process.module != "payment" else pod.workload, "localhost"} <= certificate.hosts


def test_secrets_are_kept_when_they_are_made_again(made: tuple[SecretFiles, Any]) -> None:
    made[0].make(map(member_of, PROCESSES.values()))
    assert secrets(made[0]) == made[1]


@everywhere
def test_every_pod_is_contained(directory: Path) -> None:
    """The restricted Pod Security Standard, and what docker-compose.yaml asks for besides."""
    for pod in pods(directory):
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False
        assert not pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
        assert pod.container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all(volume.keys() & {"secret", "emptyDir"} for volume in pod.spec["volumes"])
        assert "hostPort" not in str(pod.container["ports"])


def test_the_users_are_those_of_the_images() -> None:
    assert "useradd --system --uid 10001 bookstore" in (ROOT / "docker/services.Dockerfile").read_text()
    assert "useradd --system --uid 10001 bookstore" in (ROOT / "docker/frontend.Dockerfile").read_text()
    assert {pod.spec["securityContext"]["runAsUser"] for pod in pods(BASE) if pod.workload != "postgres"} == {10001}
