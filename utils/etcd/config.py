"""Settings of a node that may keep its log in etcd instead of in files of its own."""

from dataclasses import dataclass

import grpc

from utils.config import ConfigError, variable
from utils.raft.config import RaftConfig


@dataclass(frozen=True, kw_only=True)
class EtcdConfig(RaftConfig):
    # host:port of the members of etcd.
    etcd_endpoints: tuple[str, ...] = variable("ETCD_ENDPOINTS", default=())
    # For how long a leader that falls silent stays the leader. etcd grants no less than 1.5 of its election timeouts.
    etcd_lease_s: int = variable("ETCD_LEASE_S", default=2, minimum=1, maximum=60)
    # PEM; usually given as ETCD_CA_FILE and so on. Without the first: plain text.
    etcd_ca: str = variable("ETCD_CA", default="")
    etcd_certificate: str = variable("ETCD_CERTIFICATE", default="")
    etcd_key: str = variable("ETCD_KEY", default="", secret=True)

    @property
    def etcd_credentials(self) -> grpc.ChannelCredentials | None:
        """None: plain text."""
        if not self.etcd_ca:
            return None
        certificate, key = self.etcd_certificate.encode() or None, self.etcd_key.encode() or None
        return grpc.ssl_channel_credentials(self.etcd_ca.encode(), key, certificate)

    def check_engine(self, variable_name: str, engine: str) -> None:
        """Raises ConfigError if `engine` misses a setting."""
        if engine == "etcd" and not self.etcd_endpoints:
            raise ConfigError(f"{variable_name} is etcd, and ETCD_ENDPOINTS names no member of it")
        if bool(self.etcd_certificate) != bool(self.etcd_key):
            raise ConfigError("ETCD_CERTIFICATE and ETCD_KEY are given together, or neither")
