"""Network policies let those talk who call each other by utils/identity/permissions.py, and nobody else."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.compose_file import processes
from deploy.kubernetes.secrets import workload_of
from tests.deploy.kustomization import Object
from tests.deploy.manifests import BASE, OVERLAYS, Pod, of_kind, pods
from utils.identity import permissions

everywhere = pytest.mark.parametrize("directory", [BASE, *OVERLAYS], ids=lambda path: path.name)
TRIO = ("transaction_verification", "fraud_detection", "suggestions")
SERVED = {
    "bookstore.v1.TransactionVerificationService": ("transaction_verification",),
    "bookstore.v1.FraudDetectionService": ("fraud_detection",),
    "bookstore.v1.SuggestionsService": ("suggestions",),
    "bookstore.v1.DiscoveryService": ("suggestions",),
    "bookstore.v1.VerificationPeer": TRIO,
    "bookstore.v1.OrderQueueService": ("order_queue",),
    "bookstore.v1.RefundService": ("order_queue",),
    "bookstore.v1.ParticipantService": ("db_node", "payment"),
    "bookstore.v1.CoordinatorService": ("order_executor",),
    "bookstore.v1.OrderExecutorService": ("order_executor",),
    "bookstore.v1.PaymentService": ("payment",),
    "bookstore.v1.DatabaseService": ("db_node",),
    "bookstore.v1.StoryService": ("order_queue", "order_executor", "db_node", "payment"),
    "bookstore.v1.raft.RaftService": ("order_queue", "order_executor", "db_node"),
    "bookstore.v1.raft.RaftAdminService": ("order_queue", "order_executor", "db_node"),
    "bookstore.v1.BullyService": ("order_executor",),
    "bookstore.v1.DecisionLogService": ("db_node",),
}
# What every process serves, for those who call it anyway; an operator comes through the API server.
_GENERAL = {"bookstore.v1.MultiplexService", "bookstore.v1.IntrospectionService", "grpc.health.v1.Health"}
# No gRPC.
_TO_POSTGRES = {("order-queue", "postgres"), ("suggestions", "postgres")}


def allowed_by_the_table() -> set[tuple[str, str]]:
    workloads = {process.module: workload_of(process) for process in processes()}
    assert SERVED.keys() | _GENERAL == permissions.TABLE.keys()
    pairs = set()
    for service, callees in SERVED.items():
        for callers in permissions.TABLE[service].values():
            for caller, callee in itertools.product(callers, callees):
                if caller != permissions.OPERATOR:
                    pairs.add((workloads[callee if caller == permissions.SAME else caller], workloads[callee]))
    # Of a trio, each tells the other two.
    return {(caller, callee) for caller, callee in pairs if caller != callee or callee.replace("-", "_") not in TRIO}


def allowed_by_policies(directory: Path) -> set[tuple[str, str]]:
    """Both ends have to allow it, at the port that the callee has."""
    sends, takes = set(), set()
    everybody = pods(directory)
    for policy in of_kind(directory, "NetworkPolicy").values():
        subjects = [pod for pod in everybody if pod.selected_by(policy["spec"]["podSelector"])]
        assert subjects, f"{policy['metadata']['name']} selects nobody"
        for rule in policy["spec"].get("egress", ()):
            for subject, peer in itertools.product(subjects, _peers(rule.get("to", ()), everybody)):
                assert {port["port"] for port in rule["ports"]} == set(peer.ports.values())
                sends.add((subject.workload, peer.workload))
        for rule in policy["spec"].get("ingress", ()):
            for subject, peer in itertools.product(subjects, _peers(rule.get("from", ()), everybody)):
                assert {port["port"] for port in rule["ports"]} == set(subject.ports.values())
                takes.add((peer.workload, subject.workload))
    assert sends == takes, "allowed at one end only"
    return sends


def _peers(listed: Sequence[Object], everybody: tuple[Pod, ...]) -> list[Pod]:
    """Of this namespace."""
    selectors = [peer["podSelector"] for peer in listed if peer.keys() == {"podSelector"}]
    found = [pod for pod in everybody if any(pod.selected_by(selector) for selector in selectors)]
    assert all(any(pod.selected_by(selector) for pod in everybody) for selector in selectors)
    return found


@everywhere
def test_network_policies_allow_whom_the_table_of_callers_allows(directory: Path) -> None:
    assert allowed_by_policies(directory) == allowed_by_the_table() | _TO_POSTGRES


@everywhere
def test_whoever_is_not_named_is_refused(directory: Path) -> None:
    policies = of_kind(directory, "NetworkPolicy")
    assert policies["nobody"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    outside = {
        pod.workload
        for policy in policies.values()
        for pod in pods(directory)
        if pod.selected_by(policy["spec"]["podSelector"])
        and any("ipBlock" in peer for rule in policy["spec"].get("egress", ()) for peer in rule["to"])
    }
    assert outside == {"fraud-detection", "suggestions"}
    from_anywhere = {
        (pod.workload, port["port"])
        for policy in policies.values()
        for pod in pods(directory)
        if pod.selected_by(policy["spec"]["podSelector"])
        for rule in policy["spec"].get("ingress", ())
        if "from" not in rule
        for port in rule["ports"]
        if port["port"] in pod.ports
    }
    assert from_anywhere == {("frontend", "page"), ("orchestrator", "rest")}
