"""Whether a process of the system answers, asked the way its kind is asked."""

import asyncio
from typing import Any

import httpx
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bookstore.system import HOST, ORCHESTRATOR, ProcessSpec
from utils.rpc.channel import Channel
from utils.rpc.errors import ServiceError

PROBE_TIMEOUT_S = 2.0


class Prober:
    """Keeps a channel to each gRPC process, so that a probe costs little."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._channels: dict[str, Channel] = {}
        self._http = httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, trust_env=False)

    async def healthy(self, spec: ProcessSpec) -> bool:
        """True when the process says that it serves. Never raises, never takes much longer than PROBE_TIMEOUT_S."""
        if spec.probe == "grpc":
            return await self._grpc(spec)
        if spec.probe == "http":
            path = "/readyz" if spec.name == ORCHESTRATOR else "/healthz"
            return await self._http_get(f"http://{HOST}:{spec.port}{path}")
        return await self._postgres()

    async def close(self) -> None:
        await asyncio.gather(self._http.aclose(), *(channel.close() for channel in self._channels.values()))

    async def _grpc(self, spec: ProcessSpec) -> bool:
        channel = self._channels.setdefault(spec.name, Channel(f"{HOST}:{spec.port}"))
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S)
        except ServiceError:
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def _http_get(self, url: str) -> bool:
        try:
            return (await self._http.get(url)).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def _postgres(self) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(self._database_url, connect_timeout=2) as connection:
                await connection.execute("SELECT 1")
        except (psycopg.Error, TimeoutError):
            return False
        return True
