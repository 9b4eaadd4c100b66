"""The services as they are started: their environment, their health, their logs, their end."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.trio.trio import Caller
from utils.pb import order_pb2
from utils.verification.events import FRAUD_DETECTION, SUGGESTIONS, TRANSACTION_VERIFICATION

REPOSITORY = Path(__file__).resolve().parents[3]
SERVICES = (TRANSACTION_VERIFICATION, FRAUD_DETECTION)
# Fields whose digits may be any, by chance those of a card.
NUMBERS_OF_OTHERS = {"timestamp", "order_id", "run", "address", "port"}
SECRET_CARD = order_pb2.PaymentCard(number="4012 8888 8888 1881", expiration_date="12/39", cvv="739")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def start_process(service: str, log: Path | None, **environment: str) -> asyncio.subprocess.Process:
    with log.open("wb") if log else open(os.devnull, "wb") as stderr:  # noqa: ASYNC230, PTH123
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", service,
            cwd=REPOSITORY, stderr=stderr, env={"PATH": os.environ["PATH"], **environment},
        )  # fmt: skip


async def until_serving(address: str) -> None:
    async with asyncio.timeout(20), grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        response = await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        while response.status != health_pb2.HealthCheckResponse.SERVING:
            await asyncio.sleep(0.02)
            response = await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)


@pytest.fixture
async def ports() -> dict[str, int]:
    return {service: free_port() for service in (*SERVICES, SUGGESTIONS)}


@pytest.fixture
async def processes(ports: dict[str, int], tmp_path: Path) -> AsyncIterator[dict[str, asyncio.subprocess.Process]]:
    started = {
        service: await start_process(
            service, tmp_path / service, BIND_HOST="127.0.0.1", PORT=str(ports[service]), NODE_ID=f"{service}_7"
        )
        for service in SERVICES
    }
    try:
        for service in SERVICES:
            await until_serving(f"127.0.0.1:{ports[service]}")
        yield started
    finally:
        for process in started.values():
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_an_order_passes_and_leaves_no_card_in_any_log(
    processes: dict[str, asyncio.subprocess.Process], ports: dict[str, int], tmp_path: Path
) -> None:
    caller = Caller({service: f"127.0.0.1:{port}" for service, port in ports.items()})
    good, bad = caller.start_message(), caller.start_message()
    known_number = order_pb2.PaymentCard(number=SECRET_CARD.number)
    verified, _ = await asyncio.gather(caller.verify(good, card=SECRET_CARD), caller.detect(good, card=known_number))
    assert verified.instrument.last_four == "1881"
    wrong = order_pb2.PaymentCard(number="4012 8888 8888 1882", expiration_date="12/39", cvv="739")
    rejected, _ = await asyncio.gather(caller.verify(bad, card=wrong), caller.detect(bad, card=known_number))
    assert [reason.code for reason in rejected.outcome.reasons] == ["card_number_invalid"]
    await caller.close()
    for service, process in processes.items():
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0, service
        lines = [json.loads(line) for line in (tmp_path / service).read_text().splitlines()]
        assert {start.run_id.order_id for start in (good, bad)} <= {line.get("order_id") for line in lines}
        assert {line["node_id"] for line in lines} == {f"{service}_7"}
        told = str([{name: line[name] for name in line.keys() - NUMBERS_OF_OTHERS} for line in lines])
        for secret in ("4012", "8888", "739", "mari@", "Maasikas"):
            assert secret not in told


@pytest.mark.parametrize(
    ("service", "name", "value"),
    [(TRANSACTION_VERIFICATION, "PORT", "99999"), (FRAUD_DETECTION, "FRAUD_REJECT_SCORE", "0")],
)
async def test_a_wrong_variable_is_named(service: str, name: str, value: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = await start_process(service, log, **{name: value})
    assert await asyncio.wait_for(process.wait(), 20) == 2
    assert log.read_text().startswith(f"configuration: {name} must be from")
