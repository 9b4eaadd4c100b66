"""The orchestrator as people run it: its own process and server, real sockets, and the rest of the system over gRPC."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.integration.orchestrator.cluster import Cluster, Held, gone, outcome
from tests.integration.orchestrator.conftest import ROOT, Orchestrator, environment
from tests.unit.orchestrator.fakes import CARD_NUMBER, CVV, body
from utils.pb import (
    fraud_detection_pb2 as fraud,
    order_queue_pb2 as queue,
    transaction_verification_pb2 as transaction,
    vector_clock_pb2,
    verification_pb2,
)
from utils.rpc.errors import Unavailable

IBAN = "DE89370400440532013000"


def test_an_order_as_the_page_posts_it_is_approved(http: httpx.Client, cluster: Cluster) -> None:
    response = http.post(
        "/checkout",
        content=json.dumps(body()),
        headers={"Content-Type": "text/plain;charset=UTF-8", "Origin": "http://localhost:8080"},
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:8080"
    answer = response.json()
    assert (answer["status"], answer["confirmationCode"], answer["riskScore"]) == ("Order Approved", "OK-1", 7)
    clock = {"orchestrator": 1, "transaction_verification": 3, "fraud_detection": 2, "suggestions": 1}
    assert answer["clock"] == clock
    assert [book["title"] for book in answer["suggestedBooks"]] == ["Book C"]
    forgets = cluster.wait_for("Forget", 3)
    assert all(dict(forget.final_clock.entries) == clock for forget in forgets)
    (run_id,) = {(forget.run_id.order_id, forget.run_id.run) for forget in forgets}
    start = cluster.requests["VerifyTransaction"][0].start
    assert (start.run_id.order_id, start.run_id.run) == run_id
    assert dict(start.peers) == dict.fromkeys(clock.keys() - {"orchestrator"}, cluster.address)


def test_card_data_reaches_only_those_who_check_it(
    http: httpx.Client, cluster: Cluster, orchestrator: Orchestrator
) -> None:
    http.post("/checkout", json=body())
    http.post("/checkout", json=body(paymentMethod="bankTransfer", bankAccount={"iban": IBAN}))
    http.post("/checkout", json=body(creditCard={"number": CARD_NUMBER + "\n", "cvv": CVV}))
    http.post("/checkout", content=f'{{"creditCard": {{"number": "{CARD_NUMBER}" "cvv": "{CVV}"}}}}')
    by_card, by_bank = cluster.requests["VerifyTransaction"]
    assert (by_card.card.number, by_card.card.cvv, by_card.bank_account.iban) == (CARD_NUMBER, CVV, "")
    assert (by_bank.card.number, by_bank.card.cvv, by_bank.bank_account.iban) == ("", "", IBAN)
    assert cluster.requests["DetectFraud"][0].card.number == CARD_NUMBER
    assert cluster.requests["DetectFraud"][0].card.cvv == ""
    cluster.wait_for("Forget", 6)
    others = {"VerifyTransaction", "DetectFraud"}
    told = repr([request for method, sent in cluster.requests.items() if method not in others for request in sent])
    log = orchestrator.log.read_text()
    assert "request received" in log
    for secret in (CARD_NUMBER, CVV, IBAN):
        assert secret not in told
        assert secret not in log
    assert "ada@example.com" not in repr(cluster.requests["SuggestBooks"])


def test_the_first_failure_cancels_the_other_calls_at_their_services(http: httpx.Client, cluster: Cluster) -> None:
    held = Held(fraud.DetectFraudResponse())
    cluster.hooks["DetectFraud"] = held

    async def reject(_request: Any) -> Any:
        await asyncio.to_thread(held.begun.wait, 10)
        return transaction.VerifyTransactionResponse(outcome=outcome(reasons=("card_expired",), stopped=True))

    cluster.hooks["VerifyTransaction"] = reject
    answer = http.post("/checkout", json=body()).json()
    assert (answer["status"], answer["suggestedBooks"]) == ("Order Rejected", [])
    assert [reason["code"] for reason in answer["reasons"]] == ["card_expired"]
    assert held.cancelled.wait(5)
    assert {stop.cause for stop in cluster.wait_for("Stop", 3)} == {"card_expired"}


def test_a_clock_beyond_the_final_one_is_an_alarm(
    http: httpx.Client, cluster: Cluster, orchestrator: Orchestrator
) -> None:
    counted = vector_clock_pb2.VectorClock(entries={"suggestions": 2})

    async def beyond(_request: Any) -> Any:
        return verification_pb2.ForgetResponse(within_final=False, clock=counted)

    cluster.hooks["Forget"] = beyond
    assert http.post("/checkout", json=body()).json()["status"] == "Order Approved"
    assert orchestrator.logs("a service's clock exceeds the final clock")


def test_a_service_that_is_away_is_503_and_nothing_is_enqueued(http: httpx.Client, cluster: Cluster) -> None:
    cluster.hooks["DetectFraud"] = gone
    response = http.post("/checkout", json=body())
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert "Enqueue" not in cluster.requests


def test_a_lost_answer_of_the_queue_makes_one_order(http: httpx.Client, cluster: Cluster) -> None:
    async def enqueue_and_lose(request: Any) -> Any:
        cluster.records[request.order.order_id] = queue.OrderRecord(
            order_id=request.order.order_id,
            state=queue.OrderRecord.STATE_PENDING,
            fingerprint=request.fingerprint,
            order=request.order,
        )
        del cluster.hooks["Enqueue"]
        raise Unavailable("the answer is lost")

    cluster.hooks["Enqueue"] = enqueue_and_lose
    answer = http.post("/checkout", json=body()).json()
    assert answer["status"] == "Order Approved"
    assert list(cluster.records) == [answer["orderId"]]
    assert len(cluster.requests["Enqueue"]) == 2


def test_the_same_key_is_one_order_and_another_body_422(http: httpx.Client, cluster: Cluster) -> None:
    headers = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: http.post("/v2/checkout", json=body(), headers=headers), range(4)))
    assert len({answer.text for answer in answers}) == 1
    assert len(cluster.records) == 1
    assert http.post("/v2/checkout", json=body(giftMessage="x"), headers=headers).status_code == 422


def test_books_and_stock_are_told(http: httpx.Client) -> None:
    assert len(http.get("/books").json()["books"]) >= 15
    stock = http.get("/api/database/stock/To%20Kill%20a%20Mockingbird").json()
    assert (stock["book"], stock["stock"], stock["version"]) == ("To Kill a Mockingbird", 120, 1)
    assert http.get("/api/database/stock/Nobody").status_code == 404


def test_visitors_questions_reach_suggestions_and_their_absence_is_told(http: httpx.Client, cluster: Cluster) -> None:
    books = [{"bookId": "book-c", "title": "Book C", "author": "C. Author"}]
    found = http.get("/books/search", params={"q": "white whale", "limit": 3})
    assert found.json() == {"books": books, "ranking": "full-text"}
    recommended = http.get("/books/recommendations", params={"title": ["Dune", "1984"]})
    assert recommended.json() == {"books": books, "source": "static"}
    [search], [recommend] = cluster.requests["SearchBooks"], cluster.requests["RecommendBooks"]
    assert (search.query, search.limit) == ("white whale", 3)
    assert (list(recommend.titles), recommend.limit) == (["Dune", "1984"], 5)
    cluster.hooks |= {"SearchBooks": gone, "RecommendBooks": gone}
    for path, params in (("/books/search", {"q": "whale"}), ("/books/recommendations", {"title": "Dune"})):
        refused = http.get(path, params=params)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")


def test_a_chunked_body_is_read(http: httpx.Client) -> None:
    def chunks(text: bytes) -> Iterator[bytes]:
        for start in range(0, len(text), 100):
            yield text[start : start + 100]

    headers = {"Content-Type": "application/json"}
    answer = http.post("/checkout", content=chunks(json.dumps(body()).encode()), headers=headers)
    assert answer.json()["status"] == "Order Approved"


def test_a_client_that_leaves_in_the_middle_does_no_harm(http: httpx.Client, orchestrator: Orchestrator) -> None:
    with orchestrator.connect() as client:
        client.sendall(b"POST /checkout HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n{")
    assert http.get("/healthz").status_code == 200


def test_sigterm_lets_a_request_in_flight_end(orchestrator: Orchestrator, cluster: Cluster) -> None:
    held = Held(fraud.DetectFraudResponse(outcome=outcome(transaction_verification=3, fraud_detection=2)))
    cluster.hooks["DetectFraud"] = held
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(httpx.post, f"{orchestrator.url}/checkout", json=body(), timeout=20, trust_env=False)
        assert held.begun.wait(10)
        orchestrator.process.send_signal(signal.SIGTERM)
        assert orchestrator.stopped_listening()
        held.release()
        assert answer.result().json()["status"] == "Order Approved"
    assert orchestrator.process.wait(10) == 0


def test_an_idle_process_ends_at_once_on_sigterm(orchestrator: Orchestrator, http: httpx.Client) -> None:
    assert http.get("/healthz").status_code == 200
    orchestrator.process.send_signal(signal.SIGTERM)
    assert orchestrator.process.wait(5) == 0


def test_a_server_that_is_killed_leaves_no_worker_behind(orchestrator: Orchestrator) -> None:
    orchestrator.process.kill()
    assert orchestrator.stopped_listening()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ORDER_ID_KEY": None}, "ORDER_ID_KEY is not set"),
        ({"ORDER_ID_KEY": "short"}, "ORDER_ID_KEY must have at least"),
        ({"DB_NODES": ","}, "DB_NODES"),
        ({"PORT": "http"}, "PORT must be"),
    ],
)
def test_a_wrong_variable_is_named(cluster: Cluster, changes: dict[str, str | None], told: str) -> None:
    changed = {**environment(cluster, 1), **changes}
    ended = _start({name: value for name, value in changed.items() if value is not None})
    assert ended.returncode == 2
    assert told in ended.stderr


def test_a_second_process_does_not_share_the_port(orchestrator: Orchestrator, cluster: Cluster) -> None:
    ended = _start(environment(cluster, orchestrator.port))
    assert ended.returncode == 1
    assert str(orchestrator.port) in ended.stderr


def _start(variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Runs a process that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "orchestrator"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
