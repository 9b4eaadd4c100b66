"""What must stay secret, sent through a whole system in every way that goes right or wrong, and then looked for."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from bookstore.postgres import database_url
from bookstore.running import RunningSystem
from bookstore.system import ORCHESTRATOR, POSTGRES, TRIO
from orchestrator.edge import BODY_BYTES_MAX
from tests.e2e.waiting import eventually
from tests.secrets.marks import Found, Mark, ShortMark, card, search
from tests.secrets.shopper import CVV, EXPIRY, TIMEOUT_S, Order, Shopper
from tests.support.fake_generative_ai import FakeGenerativeAi, says
from utils.rpc.blocking import BlockingRuntime

pytestmark = pytest.mark.system

API_KEY = Mark("Google's API key", "AIzaSyMARK-key_of_the_test-0123456789")
# Where an approved order comes by: a search that does not find its id there has not looked.
PLACES_OF_AN_ORDER = (
    "logs/orchestrator", "logs/order_queue", "logs/payment", "order_queue_1/raft", "order_executor_1/raft",
    "db-node1/raft", "snapshot-", "payment.sqlite", "pg_wal", "table public.order_records", "the answer to an order",
)  # fmt: skip
# Secrets and private keys are kept here, and nowhere else.
KEPT_IN = ("secrets", "identity")


def approved_and_retried(shop: Shopper) -> str:
    """The id of an approved order."""
    key = shop.text("idempotency key")
    order = shop.order("approved card")
    first = shop.checkout("an order", order, **{"Idempotency-Key": key})
    assert first.json()["status"] == "Order Approved", first.text
    assert shop.checkout("it again", order, **{"Idempotency-Key": key}).json()["orderId"] == first.json()["orderId"]
    other = shop.order("card under a key that was used")
    assert shop.checkout("another order with its key", other, **{"Idempotency-Key": key}).status_code == 422
    later = shop.checkout("an asynchronous order", shop.order("asynchronous card"), "/v2/checkout").json()["orderId"]
    tell_story(shop, first.json()["orderId"])
    eventually(lambda: shop.send("its state", "GET", f"/v2/orders/{later}").json()["status"] != "PENDING", "it ends")
    tell_story(shop, later)
    order_id: str = first.json()["orderId"]
    return order_id


def tell_story(shop: Shopper, order_id: str) -> None:
    for path in ("", "/trace", "/clock", "/clock?format=shiviz"):
        shop.send(f"the order's {path or 'state'}", "GET", f"/v2/orders/{order_id}{path}")


def rejected(shop: Shopper) -> None:
    """By each event of verification, by the shelf, and by the bank."""
    changes: dict[str, Order] = {
        "A": {"items": []},
        "an unknown book": {"items": [{"name": "No such book", "quantity": 1}]},
        "B": {"user": {}},
        "C, the number": {"creditCard": {**shop.card("card with a wrong digit"), "number": shop.text("no card")[:40]}},
        "C, the date": {"creditCard": {**shop.card("card of no date"), "expirationDate": shop.text("no date")}},
        "C, the code": {"creditCard": {**shop.card("card of no code"), "cvv": shop.text("no code")}},
        "D": {"user": {"name": "Eve", "contact": "eve@suspicious.ru"}},
        "E": {"items": [{"name": "Book A", "quantity": 100}]},
        "the shelf": {"items": [{"name": "Book F", "quantity": 2}]},
        "the bank": {"paymentMethod": "bankTransfer", "bankAccount": shop.account("declined account")},
        "C, the account": {"paymentMethod": "bankTransfer", "bankAccount": {"iban": shop.text("no account")}},
    }
    for name, change in changes.items():
        for path in ("/checkout", "/v2/checkout"):
            answer = shop.checkout(f"an order for {name}", shop.order(f"card for {name}", **change), path)
            assert answer.status_code in {200, 400}, (name, answer.text)


def malformed(shop: Shopper) -> None:
    def text(name: str, **changes: Any) -> str:
        return json.dumps(shop.order(name, **changes))

    half = text("card in half a body")
    bodies: dict[str, bytes] = {
        "half": half[: half.index('"items"')].encode(),
        "no UTF-8": text("card before no UTF-8").encode() + b"\xff",
        "twice": text("card in a member twice").replace('"items"', '"creditCard"', 1).encode(),
        "deep": ('{"creditCard": ' + "[" * 500 + text("card in the deep")).encode(),
        "a list": f"[{text('card in a list')}]".encode(),
        "a number for a card": text("card beside a number", creditCard={"number": 4 * 10**15, "cvv": 1}).encode(),
        "a card for a number": text("card in a number", creditCard={"number": shop.card("card in a card")}).encode(),
        "a long card": text("short card", creditCard={"number": shop.text("long card") * 3}).encode(),
        "a card of two lines": text("one line", creditCard={"number": shop.text("two lines") + "\n"}).encode(),
        "a card as a name": text("named", creditCard={shop.card("card as a name")["number"]: 1}).encode(),
        "a card for copies": text("copied", items=[{"name": "Book A", "quantity": shop.text("copies")}]).encode(),
        "a card for a way": text("shipped", shippingMethod=shop.card("card for a way")["number"]).encode(),
        "a card for a method": text("paid", paymentMethod=shop.card("card for a method")["number"]).encode(),
        "too large": text("card in a body that is too large").encode() + b" " * BODY_BYTES_MAX,
    }
    for name, content in bodies.items():
        for path in ("/checkout", "/v2/checkout"):
            answer = shop.send(f"a body: {name}", "POST", path, content=content)
            assert answer.status_code in {400, 413} or answer.json()["status"] == "Order Rejected", name
    for header in (
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Encoding": "gzip"},
        {"Content-Type": shop.text("type")},
        {"Idempotency-Key": shop.text("key of two words") + " x"},
        {"Cookie": shop.text("cookie"), "Authorization": shop.text("authorization"), "Content-Type": "image/png"},
    ):
        refused = shop.send("a header", "POST", "/checkout", content=text("card under a header"), headers=header)
        assert refused.status_code in {400, 415}, header


def at_the_edge(shop: Shopper, page_url: str) -> None:
    """Bodies that are too slow, end early or are no HTTP; numbers where an address is."""
    for name, head in {
        "a slow body": "Content-Length: 100000",
        "a body of two lengths": "Content-Length: 5\r\nContent-Length: 6",
        "a body of no length": "Content-Length: x",
        "a large body": "Content-Length: 100000000",
        "chunks of no size": "Transfer-Encoding: chunked",
    }.items():
        content = json.dumps(shop.order(f"card in {name}"))
        told = shop.raw(name, f"POST /checkout HTTP/1.1\r\nHost: shop\r\n{head}\r\n\r\n{content}".encode())
        assert told.startswith(b"HTTP/1.1 4"), (name, told)
    shop.raw("no HTTP", (shop.card("card instead of a request")["number"] + "\r\n\r\n").encode())
    for path in ("/v2/orders/{}", "/v2/orders/{}/trace", "/{}", "/books/search?limit=x&q={}", "/checkout?card={}"):
        # A path comes back in no answer, a question neither; what is searched for may go to the model's search.
        shop.send("a path", "GET", path.format(shop.card("card in a path")["number"]))
    shop.send("a page", "GET", f"{page_url}/js/{shop.card('card in the page')['number']}")
    shop.send("a search", "GET", "/books/search", params={"q": shop.card("searched card")["number"]})
    shop.send("books", "GET", "/books", headers={"Origin": f"http://{shop.text('origin')}"})


def while_services_fail(shop: Shopper, system: RunningSystem) -> None:
    """Stopped, killed and crashing services, with orders in them."""
    stopped = system.pid("fraud_detection")
    os.kill(stopped, signal.SIGSTOP)
    try:
        answer = shop.checkout("an order that takes too long", shop.order("card while a service is stopped"))
        assert answer.status_code == 503
    finally:
        os.kill(stopped, signal.SIGCONT)
    for service, number in ((TRIO[0], signal.SIGABRT), (TRIO[1], signal.SIGSEGV), (TRIO[1], signal.SIGKILL)):
        pid = system.pid(service)
        with ThreadPoolExecutor(8) as clients:
            orders = [shop.order(f"card while {service} ends by {number.name}") for _ in range(8)]
            answers = [clients.submit(shop.checkout, "an order as a service dies", order) for order in orders]
            os.kill(pid, number)
            assert {answer.result().status_code for answer in answers} <= {200, 503}
        eventually(lambda pid=pid, service=service: system.pid(service) != pid, f"{service} is started again")  # type: ignore[misc]
    key = shop.text("key of an order while the orchestrator dies")
    order = shop.order("card while the orchestrator dies")
    pid = system.pid(ORCHESTRATOR)
    os.kill(pid, signal.SIGABRT)
    eventually(lambda: system.pid(ORCHESTRATOR) != pid, "the orchestrator is started again")

    def is_approved() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return bool(shop.checkout("a retry", order, **{"Idempotency-Key": key}).is_success)
        return False

    eventually(is_approved, "an order is taken again")


def everything_of(system: RunningSystem, database: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Whatever the system has left: each file but the secrets themselves, and each row."""
    for path in sorted(system.data_directory.rglob("*")):
        if path.is_file() and path.relative_to(system.data_directory).parts[0] not in KEPT_IN:
            yield str(path), path.read_bytes()
    yield from database


def secrets_of(data_directory: Path) -> list[Mark]:
    """The system's own: of a private key, the line of the file that has nothing in common with other keys."""
    kept = [path for directory in KEPT_IN for path in sorted((data_directory / directory).rglob("*")) if path.is_file()]
    secrets = [Mark(str(path), path.read_text()) for path in kept if path.parent.name == KEPT_IN[0]]
    keys = [path for path in kept if "PRIVATE KEY" in path.read_text()]
    assert {path.name for path in kept} >= {POSTGRES, "order_id_key", "fraud_key"}
    assert len(keys) > len(TRIO)
    return secrets + [Mark(str(path), path.read_text().splitlines()[2]) for path in keys]


def logs_of(system: RunningSystem) -> Iterator[tuple[str, bytes]]:
    """Raft's, as they are now."""
    for path in sorted(system.data_directory.glob("*/raft/*")):
        with contextlib.suppress(FileNotFoundError):
            yield str(path), path.read_bytes()


def tables_of(dsn: str) -> list[tuple[str, bytes]]:
    """Every row of every table as text, and what the server remembers of queries."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        names = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        queries = {name: f"SELECT t::text FROM {name} t" for (name,) in names}
        queries["pg_stat_activity"] = "SELECT t::text FROM pg_stat_activity t"
        assert {"public.order_records", "public.books"} <= queries.keys()
        return [
            (f"table {name}", "\n".join(row for (row,) in connection.execute(query).fetchall()).encode())
            for name, query in queries.items()
        ]


@contextlib.contextmanager
def model() -> Iterator[FakeGenerativeAi]:
    """One that always answers; what it is told is told to a stranger."""
    runtime = BlockingRuntime()
    fake = FakeGenerativeAi()
    fake.reply = says('{"risk": 10, "concern": "none"}')
    runtime.run(fake.__aenter__())
    yield fake
    runtime.run(fake.__aexit__())
    runtime.close()


@pytest.mark.timeout(900)
def test_no_secret_is_left_anywhere(tmp_path: Path) -> None:
    with model() as fake:
        settings = {
            "LOG_LEVEL": "DEBUG",
            "MUTUAL_TLS": "on",
            "GOOGLE_API_KEY": API_KEY.value,
            "GOOGLE_API_BASE_URL": fake.url,
            "PAYMENT_CARD_SUCCESS_RATE": "1",
            "PAYMENT_BANK_SUCCESS_RATE": "0",
            # So that there are snapshots, too.
            "SNAPSHOT_ENTRIES": "50",
            "QUEUE_RECORD_INTERVAL_MS": "50",
        }
        with RunningSystem(tmp_path / "data", settings) as system, contextlib.ExitStack() as clients:
            shop = clients.enter_context(Shopper(system))
            shop.marks.append(API_KEY)
            shop.marks += secrets_of(system.data_directory)
            order_id = Mark("order id", approved_and_retried(shop))
            # Logs are cut off behind snapshots: what was in them is looked at before.
            earlier = list(logs_of(system))
            rejected(shop)
            earlier += logs_of(system)
            malformed(shop)
            at_the_edge(shop, system.page_url)
            while_services_fail(shop, system)
            for known in {answer for _, told in shop.answers for answer in ids_in(told)}:
                tell_story(shop, known)
            for name in ("/readyz", "/healthz", "/metrics"):
                shop.send(name, "GET", name)
            database = tables_of(database_url(system.data_directory, system.state.process(POSTGRES).port))
            commands = [
                (f"command line of {process.name}", Path(f"/proc/{process.pid}/cmdline").read_bytes())
                for process in system.state.processes
                if process.pid
            ]
            assert_no_core_files(system)
        told = [("what the model was told", json.dumps([(r.target, r.body) for r in fake.received]).encode())]
    assert fake.received
    places = [*earlier, *everything_of(system, database), *commands, *told, *shop.answers]
    for expected in PLACES_OF_AN_ORDER:
        seen = (search(data, [order_id], where) for where, data in places if expected in where)
        assert any(map(list, seen)), f"an approved order has left no trace in {expected}: was it searched?"
    found = [found for where, data in places for found in search(data, shop.marks, where)]
    assert not found, report(found)


def ids_in(told: bytes) -> set[str]:
    with contextlib.suppress(ValueError, IndexError):
        answer = json.loads(told.split(b"\n", 1)[1])
        if isinstance(answer, dict) and "orderId" in answer:
            return {answer["orderId"]}
    return set()


def report(found: list[Found]) -> str:
    return "\n".join(f"{one.mark} ({one.form}) in {one.where}: {one.around!r}" for one in found)


def assert_no_core_files(system: RunningSystem) -> None:
    """The memory of a process that crashes holds what it was just checking."""
    for process in system.state.processes:
        if process.pid and process.name != POSTGRES:
            assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0), process.name


CRASHING: dict[str, Callable[[str], str]] = {
    "in main": lambda raised: raised,
    "in a task": lambda raised: f"asyncio.get_running_loop().create_task(fail()); {raised}",
    "in a thread": lambda raised: f"threading.Thread(target=lambda: asyncio.run(fail())).start(); {raised}",
}


@pytest.mark.parametrize("crash", CRASHING.values(), ids=CRASHING)
def test_a_service_that_an_exception_ends_tells_no_values(crash: Callable[[str], str]) -> None:
    program = f"""
import asyncio, threading
from utils.domain.order import BankAccount, PaymentCard
from utils.observe.logging import configure_logging
from utils.rpc.service import run_service
async def fail():
    card = PaymentCard("378282246310005", "11/39", "0739")
    account, number = BankAccount("DE89370400440532013000"), card.number
    raise RuntimeError(f"it failed with {{card}} and {{account}}")
async def main(stopping):
    configure_logging("crashing", "crashing")
    {crash("await fail()")}
run_service(main)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "LOG_LEVEL": "DEBUG"},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 1
    assert b"it failed with PaymentCard(...)" in ended.stderr
    marks: list[Mark | ShortMark] = [
        card("card", "378282246310005"),
        EXPIRY,
        CVV,
        Mark("account", "DE893704004405320130"),
    ]
    # The program itself is on no line of a traceback: it comes from the command line.
    assert not list(search(ended.stdout + ended.stderr, marks, "what a crash prints"))
