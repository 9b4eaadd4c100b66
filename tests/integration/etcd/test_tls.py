"""An etcd that speaks TLS only, and only with those who have a certificate."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from order_queue.config import QueueConfig
from tests.support.etcd import needs_etcd
from tests.support.raft_cluster import free_ports
from tests.unit.engines.test_engines import NODE
from utils.config import from_environment
from utils.etcd.client import EtcdClient
from utils.etcd.errors import EtcdUnavailableError
from utils.etcd.layout import Layout
from utils.identity.authority import Authorities
from utils.identity.spiffe import Identity

pytestmark = needs_etcd

START_TIMEOUT_S = 30.0


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Certificates of the member and of a node, and who has signed them."""
    authorities = Authorities(tmp_path / "authority")
    with authorities.held():
        authorities.refresh()
    (tmp_path / "trusted.pem").write_bytes(authorities.bundle)
    for name in ("etcd_1", "order_queue_1"):
        issued = authorities.issue(Identity("etcd", name), ["127.0.0.1"])
        (tmp_path / f"{name}.pem").write_bytes(issued.certificate_pem)
        (tmp_path / f"{name}.key").write_bytes(issued.key_pem)
    return tmp_path


@pytest.fixture
async def endpoint(files: Path) -> AsyncIterator[str]:
    client, peer = free_ports(2)
    url, peer_url = f"https://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    process = await asyncio.create_subprocess_exec(
        *("etcd", "--name", "etcd_1", "--data-dir", str(files / "data"), "--log-level", "error"),
        *("--listen-client-urls", url, "--advertise-client-urls", url),
        *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
        *("--initial-cluster", f"etcd_1={peer_url}"),
        *("--cert-file", str(files / "etcd_1.pem"), "--key-file", str(files / "etcd_1.key")),
        *("--client-cert-auth", "--trusted-ca-file", str(files / "trusted.pem")),
    )
    yield f"127.0.0.1:{client}"
    process.kill()
    await process.wait()


def config(endpoint: str, files: Path, *names: str) -> QueueConfig:
    tls = {"CA": "trusted.pem", "CERTIFICATE": "order_queue_1.pem", "KEY": "order_queue_1.key"}
    settings = {f"ETCD_{name}_FILE": str(files / tls[name]) for name in names}
    return from_environment(QueueConfig, {**NODE, "QUEUE": "etcd", "ETCD_ENDPOINTS": endpoint, **settings})


async def looks(settings: QueueConfig, timeout_s: float) -> int:
    """The revision of what it sees."""
    client, layout = EtcdClient(settings.etcd_endpoints, settings.etcd_credentials), Layout("order_queue")
    try:
        return layout.view(await client.txn(layout.look(0), timeout_s=timeout_s)).revision
    finally:
        await client.close()


async def test_whoever_has_a_certificate_is_heard_and_nobody_else(endpoint: str, files: Path) -> None:
    everything = config(endpoint, files, "CA", "CERTIFICATE", "KEY")
    assert await looks(everything, START_TIMEOUT_S) >= 1
    for stranger in (config(endpoint, files), config(endpoint, files, "CA")):
        with pytest.raises(EtcdUnavailableError):
            await looks(stranger, 2)
