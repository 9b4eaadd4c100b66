"""`python -m bookstore` as a person meets it: help, and errors that say what to do."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bookstore import protobuf, state
from bookstore.system import HOST, PORTS, free_ports, ports_in_use, processes, secret, usual_ports


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bookstore", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **settings},
    )


def test_help_names_the_commands() -> None:
    outcome = run("--help")
    assert outcome.returncode == 0
    for command in ("up", "down", "status", "reset"):
        assert command in outcome.stdout


def test_status_and_down_say_that_nothing_runs(tmp_path: Path) -> None:
    status = run("--data-dir", str(tmp_path), "status")
    assert status.returncode == 1
    assert "make up" in status.stderr
    assert run("--data-dir", str(tmp_path), "down").returncode == 0


def test_reset_deletes_the_data(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    secret(directory, "key")
    assert run("--data-dir", str(directory), "reset").returncode == 0
    assert not directory.exists()


def test_a_second_system_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    held = state.lock(tmp_path)
    assert held is not None
    with held:
        outcome = run("--data-dir", str(tmp_path), "up", "--free-ports")
    assert outcome.returncode == 1
    assert "already runs" in outcome.stderr


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert ports_in_use({"orchestrator": port, "frontend": free_ports()["frontend"]}) == {"orchestrator": port}


@pytest.mark.parametrize("count", ["0", "6", "three", "-1"])
def test_a_wrong_number_of_nodes_is_refused(tmp_path: Path, count: str) -> None:
    outcome = run("--data-dir", str(tmp_path), "up", "--free-ports", CLUSTER_NODES=count)
    assert outcome.returncode == 1
    assert "CLUSTER_NODES must be from 1 to 5" in outcome.stderr


@pytest.mark.parametrize("made_before", ["with this file", "without it"])
def test_the_number_of_nodes_is_not_changed_under_data_that_is_there(tmp_path: Path, made_before: str) -> None:
    (tmp_path / "db-node1").mkdir()
    if made_before == "with this file":
        (tmp_path / "cluster_nodes").write_text("3")
    outcome = run("--data-dir", str(tmp_path), "up", "--free-ports", CLUSTER_NODES="1")
    assert outcome.returncode == 1
    assert "have 3 nodes each, not CLUSTER_NODES=1" in outcome.stderr


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ('{"nobody": {"LEVEL": "1"}}', "has settings of nobody"),
        ('{"payment-service": {"LEVEL": 1}}', "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_settings_that_no_process_could_get_are_refused(tmp_path: Path, settings: str | None, why: str) -> None:
    file = tmp_path / "settings.json"
    if settings is not None:
        file.write_text(settings)
    outcome = run("--data-dir", str(tmp_path), "up", "--free-ports", "--process-settings", str(file))
    assert outcome.returncode == 1
    assert why in outcome.stderr


def test_settings_of_its_own_reach_one_process_alone(tmp_path: Path) -> None:
    specs = processes(tmp_path, PORTS, "", {"payment-service": {"LEVEL": "1"}})
    assert [spec.name for spec in specs if "LEVEL" in spec.environment] == ["payment-service"]


def test_the_usual_ports_are_different_and_their_nodes_keep_them_in_larger_clusters() -> None:
    five = usual_ports(5)
    assert len(set(five.values())) == len(five) == len(PORTS) + 6
    assert PORTS.items() < five.items()


def test_free_ports_are_different_and_below_the_ephemeral_range() -> None:
    ports = free_ports()
    assert ports.keys() == PORTS.keys()
    assert len(set(ports.values())) == len(ports)
    assert all(1024 < port < 32768 for port in ports.values())


def test_a_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    first = secret(tmp_path, "key")
    assert secret(tmp_path, "key") == first
    assert len(first) == 64
    assert (tmp_path / "secrets" / "key").stat().st_mode & 0o077 == 0


def test_generated_protobuf_code_that_is_not_fresh_is_named(tmp_path: Path) -> None:
    protobuf.generate(tmp_path)
    assert protobuf.stale_files(tmp_path) == []
    (tmp_path / "utils/pb/payment_pb2.py").write_text("# another version")
    assert protobuf.stale_files(tmp_path) == ["payment_pb2.py"]
