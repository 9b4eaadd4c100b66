"""A customer whose every value is marked."""

import itertools
import uuid
from typing import Any, Self

import httpx
from stdnum import iban, luhn

from bookstore.running import RunningSystem
from bookstore.system import ORCHESTRATOR
from tests.secrets.marks import Mark, ShortMark, card
from tests.support.plain_socket import answered
from tests.unit.orchestrator.fakes import body

TIMEOUT_S = 60.0
# American Express: a security code of four digits, and 0 as the first.
CVV = ShortMark("security code", "0739")
EXPIRY = ShortMark("expiry date", "11/39")
ADDRESS = {"street": "12 St", "city": "London", "state": "London", "zip": "SW1A 1AA", "country": "UK"}

Order = dict[str, Any]


class Shopper:
    """Sends marked orders and keeps every answer; each order has a card of its own."""

    def __init__(self, system: RunningSystem) -> None:
        self._system = system
        self._serials = itertools.count(1)
        self.marks: list[Mark | ShortMark] = [CVV, EXPIRY]
        self.answers: list[tuple[str, bytes]] = []
        self.http = httpx.Client(base_url=system.orchestrator_url, timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def card(self, name: str) -> dict[str, str]:
        number = f"37{next(self._serials) * 7_919_017:012d}"
        number += luhn.calc_check_digit(number)
        self.marks.append(card(name, number))
        return {"number": number, "expirationDate": EXPIRY.value, "cvv": CVV.value}

    def text(self, name: str) -> str:
        """One that says what it is, and cannot be anything else."""
        value = f"MARK{next(self._serials):04d}{uuid.uuid4().hex}"
        self.marks.append(Mark(name, value))
        return value

    def account(self, name: str) -> dict[str, str]:
        basic = f"37040044{next(self._serials) * 7_919_017:010d}"
        number = f"DE{iban.calc_check_digits(f'DE00{basic}')}{basic}"
        self.marks.append(Mark(name, number[:-4]))
        return {"iban": number}

    def order(self, name: str, **changes: Any) -> Order:
        usual = {"creditCard": self.card(name), "billingAddress": ADDRESS, "items": [{"name": "Book A", "quantity": 1}]}
        return body(**{**usual, **changes})

    def send(self, name: str, method: str, path: str, **request: Any) -> httpx.Response:
        answer = self.http.request(method, path, **request)
        told = f"{answer.status_code} {answer.headers}\n".encode() + answer.content
        self.answers.append((f"the answer to {name}", told))
        return answer

    def checkout(self, name: str, order: Order, path: str = "/checkout", **headers: str) -> httpx.Response:
        return self.send(name, "POST", path, json=order, headers=headers)

    def raw(self, name: str, request: bytes) -> bytes:
        """What a plain socket is answered until the server closes it."""
        host, _, port = self._system.address(ORCHESTRATOR).partition(":")
        told = answered(host, int(port), request, TIMEOUT_S)
        self.answers.append((f"the answer to {name}", told))
        return told
