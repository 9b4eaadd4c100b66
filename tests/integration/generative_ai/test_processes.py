"""The services as they are started, with a key and a model that hangs for ever: orders are answered in time."""

import asyncio
import json
import sys
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.generative_ai.asking import KEY
from tests.integration.trio.test_processes import free_port, start_process, until_serving
from tests.integration.trio.trio import Caller
from tests.support.fake_generative_ai import FakeGenerativeAi, hangs
from utils.pb import suggestions_pb2, suggestions_pb2_grpc
from utils.verification.events import FRAUD_DETECTION, SERVICES, SUGGESTIONS

ORDER_DEADLINE_S = 4.0
# Importing google-genai takes seconds when nothing is in the disk's cache.
LOADED_WITHIN_S = 60


class Shop(Caller):
    """Asks for suggestions too."""

    async def suggest(self, start: object) -> suggestions_pb2.SuggestBooksResponse:
        stub = suggestions_pb2_grpc.SuggestionsServiceStub(self.channels[SUGGESTIONS])  # type: ignore[arg-type]
        request = suggestions_pb2.SuggestBooksRequest(start=start, titles=["Dune"], limit=3)  # type: ignore[arg-type]
        response: suggestions_pb2.SuggestBooksResponse = await stub.SuggestBooks(request, timeout=10)
        return response


@pytest.mark.slow
async def test_orders_are_answered_in_time_while_the_model_hangs(fake: FakeGenerativeAi, tmp_path: Path) -> None:
    fake.reply = hangs
    ports = {service: free_port() for service in SERVICES}
    processes = [
        await start_process(
            service, tmp_path / service, BIND_HOST="127.0.0.1", PORT=str(ports[service]), GOOGLE_API_KEY=KEY,
            # Nobody listens there: suggestions come from the catalogue.
            GOOGLE_API_BASE_URL=fake.url, AI_TIMEOUT_S="30", DATABASE_URL="postgresql://127.0.0.1:1/none",
            DB_NODES="127.0.0.1:1",
        )
        for service in SERVICES
    ]  # fmt: skip
    shop = Shop({service: f"127.0.0.1:{port}" for service, port in ports.items()})
    try:
        for service in set(SERVICES) - {SUGGESTIONS}:
            await until_serving(shop.addresses[service])
        # Not healthy without PostgreSQL, it serves all the same.
        async with asyncio.timeout(20), grpc.aio.insecure_channel(shop.addresses[SUGGESTIONS]) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        asked: set[str] = set()
        async with asyncio.timeout(LOADED_WITHIN_S):
            while asked != {"fraud", "suggestions"}:
                started_at = time.monotonic()
                responses = await shop.all_three(shop.start_message(deadline_s=ORDER_DEADLINE_S))
                assert time.monotonic() - started_at < ORDER_DEADLINE_S
                assert not [response for response in responses if isinstance(response, Exception)]
                verified, detected, suggested = responses
                assert [len(part.outcome.events) for part in (verified, detected, suggested)] == [3, 2, 1]
                assert "second_opinion" not in {signal.code for signal in detected.signals}
                assert (suggested.source, len(suggested.books)) == ("static", 3)
                asked = {"suggestions" if "basket" in request.data else "fraud" for request in fake.received}
        for process in processes:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        await shop.close()
    logs = {service: (tmp_path / service).read_text() for service in SERVICES}
    for service in (FRAUD_DETECTION, SUGGESTIONS):
        failures = {json.loads(line).get("failure") for line in logs[service].splitlines()}
        assert "timeout" in failures
    assert not any(KEY in text for text in logs.values())


async def test_without_a_key_nothing_is_imported_for_it() -> None:
    code = (
        "import sys, fraud_detection.__main__, suggestions.__main__;"
        "from utils.generative_ai.client import open_generative_ai;"
        "from fraud_detection.config import Config;"
        "assert open_generative_ai(Config()) is None;"
        "loaded = {'google.genai', 'pydantic', 'httpx2', 'httpx', 'requests'} & sys.modules.keys();"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
