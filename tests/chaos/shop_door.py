"""How the clients of a chaos run reach the shop: one request, its answer written down whatever happens."""

import http.client
import json
import threading
from dataclasses import dataclass
from typing import Any

from bookstore.shop_client import bank_transfer_body, expiration, order_body
from bookstore.system import HOST
from tests.chaos.history import Exchange, Means, Purchase, Recorder, Route

SHIPPING_METHODS = {0: "Standard", 499: "Express", 999: "Next-Day"}


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: str | None = None


class ShopDoor:
    """Where the orchestrator listens; it moves when the system is started again. Each thread has a connection."""

    def __init__(self, port: int, recorder: Recorder) -> None:
        self._port = port
        self._recorder = recorder
        self._kept = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def opened(self, port: int) -> None:
        self._port = port

    def closed(self) -> None:
        """Until `opened`, nobody answers."""
        self._port = 0

    def close(self) -> None:
        """Closes every connection, once no thread uses one any more."""
        for connection in self._connections:
            connection.close()

    def order(self, purchase: Purchase, route: Route, timeout_s: float) -> Exchange:
        """POST /checkout or /v2/checkout."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": purchase.key}
        http_request = _Request("POST", route.value.removeprefix("POST "), headers, json.dumps(_body(purchase)))
        return self._exchange(purchase.key, route, http_request, timeout_s)

    def look(self, purchase_key: str, order_id: str, *, wait_s: int, timeout_s: float) -> Exchange:
        """GET /v2/orders/{id}."""
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        return self._exchange(purchase_key, Route.ORDER, _Request("GET", f"/v2/orders/{order_id}", headers), timeout_s)

    def _exchange(self, key: str, route: Route, http_request: _Request, timeout_s: float) -> Exchange:
        sent_at_s = self._recorder.now_s()
        status, answer = self._send(http_request, timeout_s)
        error = answer.get("error") or {}
        reasons = answer.get("reasons") or error.get("reasons") or ()
        exchange = Exchange(
            key=key,
            route=route,
            sent_at_s=sent_at_s,
            answered_at_s=self._recorder.now_s(),
            http_status=status,
            error_code=error.get("code", ""),
            order_id=answer.get("orderId", ""),
            order_status=answer.get("status", ""),
            reason_codes=tuple(reason["code"] for reason in reasons),
            confirmation_code=answer.get("confirmationCode", ""),
            amount_cents=answer.get("amountCents"),
        )
        self._recorder.saw(exchange)
        return exchange

    def _send(self, http_request: _Request, timeout_s: float) -> tuple[int, dict[str, Any]]:
        """The status and the JSON object of the answer; 0 and nothing when none comes."""
        connection = self._connection(timeout_s)
        if connection is None:
            return 0, {}
        try:
            connection.request(http_request.method, http_request.path, http_request.body, http_request.headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            connection.close()
            return 0, {}

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection | None:
        port, kept = self._port, getattr(self._kept, "connection", None)
        if not port:
            return None
        if kept is None or kept.port != port:
            if kept is not None:
                kept.close()
            kept = self._kept.connection = http.client.HTTPConnection(HOST, port)
            self._connections.append(kept)
        assert isinstance(kept, http.client.HTTPConnection)
        kept.timeout = timeout_s
        if kept.sock is not None:
            kept.sock.settimeout(timeout_s)
        return kept


def _body(purchase: Purchase) -> dict[str, Any]:
    items = tuple(purchase.items.items())
    body = bank_transfer_body(*items) if purchase.means is Means.BANK_TRANSFER else order_body(*items)
    if purchase.means is Means.EXPIRED_CARD:
        body["creditCard"]["expirationDate"] = expiration(years=-2)
    # Many customers: what one of them orders in a minute is no fraud.
    body["user"] = {"name": "Ada Lovelace", "contact": f"{purchase.key}@example.com"}
    body["shippingMethod"] = SHIPPING_METHODS[purchase.shipping_cents]
    return body
