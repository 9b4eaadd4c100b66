"""`python -m utils.identity` as whoever runs a system meets it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "utils.identity")
WAIT_S_MAX = 100


def environment(directory: Path, **settings: str) -> dict[str, str]:
    told = {
        "AUTHORITY_DIR": str(directory / "authority"),
        "GRANTED_DIR": str(directory / "granted"),
        "IDENTITIES": "order_queue/order_queue_1 operator/operator",
    }
    return {**os.environ, **told, **settings}


def run(directory: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S_MAX,
        check=False,
        env=environment(directory, **settings),
    )


def test_issue_gives_each_its_certificate_once_and_shows_whose_it_is(tmp_path: Path) -> None:
    first, second = run(tmp_path, "issue"), run(tmp_path, "issue")
    assert first.stdout.count("a new certificate for spiffe://bookstore/") == 2
    assert (second.returncode, second.stdout) == (0, "")
    shown = run(tmp_path, "show", str(tmp_path / "granted/order_queue_1"))
    assert shown.returncode == 0
    assert "spiffe://bookstore/order_queue/order_queue_1, at 127.0.0.1, localhost, order_queue_1" in shown.stdout


def test_replace_has_everybody_trust_the_next_authority(tmp_path: Path) -> None:
    run(tmp_path, "issue")
    assert run(tmp_path, "replace").returncode == 0
    for name in ("order_queue_1", "operator"):
        assert (tmp_path / "granted" / name / "ca.pem").read_text().count("BEGIN") == 2


def test_keep_renews_in_time_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    # Valid for 36 s, and due after 18.
    kept = subprocess.Popen([*COMMAND, "keep"], env=environment(tmp_path, CERTIFICATE_HOURS="0.01"))
    try:
        certificate = tmp_path / "granted/operator/cert.pem"
        seen: set[bytes] = set()
        deadline = time.monotonic() + WAIT_S_MAX
        while len(seen) < 2:
            assert time.monotonic() < deadline
            assert kept.poll() is None
            if certificate.exists():
                seen.add(certificate.read_bytes())
            time.sleep(0.1)
        kept.send_signal(signal.SIGTERM)
        assert kept.wait(WAIT_S_MAX) == 0
    finally:
        kept.kill()
        kept.wait()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"IDENTITIES": "order_queue_1"}, "IDENTITIES: 'order_queue_1' is not service/node"),
        ({"CERTIFICATE_HOURS": "100000"}, "CERTIFICATE_HOURS must be from"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    outcome = run(tmp_path, "issue", **settings)
    assert outcome.returncode == 1
    assert message in outcome.stderr
    assert not (tmp_path / "granted").exists()


def test_show_fails_where_there_is_no_certificate(tmp_path: Path) -> None:
    outcome = run(tmp_path, "show", str(tmp_path))
    assert outcome.returncode == 1
    assert "cannot be read" in outcome.stderr
