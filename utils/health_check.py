"""Asks a service for its health (grpc.health.v1): `python -m utils.health_check host:port`. Status 0 when it serves.

With `--alive`, status 0 when it answers at all: a node that waits for a leader is not to be started again for that.

It calls with the certificate of the service that it runs beside: everybody may ask after its own health.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from utils.config import ConfigError, from_environment
from utils.identity.config import TlsConfig
from utils.rpc.transport import credentials_from


def main() -> None:
    *options, address = sys.argv[1:] or [""]
    if not address or options not in ([], ["--alive"]):
        raise SystemExit("usage: python -m utils.health_check [--alive] host:port")
    try:
        credentials = credentials_from(from_environment(TlsConfig)).channel()
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    with grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address) as channel:
        try:
            response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError as error:
            raise SystemExit(f"{address}: {error.code().name}: {error.details()}") from None
    if not options and response.status != health_pb2.HealthCheckResponse.SERVING:
        raise SystemExit(f"{address}: not serving")


if __name__ == "__main__":
    main()
