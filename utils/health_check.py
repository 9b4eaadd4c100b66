"""Asks a service for its health (grpc.health.v1): `python -m utils.health_check host:port`. Status 0 when it serves."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m utils.health_check host:port")
    with grpc.insecure_channel(sys.argv[1]) as channel:
        try:
            response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError as error:
            raise SystemExit(f"{sys.argv[1]}: {error.code().name}") from None
    if response.status != health_pb2.HealthCheckResponse.SERVING:
        raise SystemExit(f"{sys.argv[1]}: not serving")


if __name__ == "__main__":
    main()
