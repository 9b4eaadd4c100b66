"""What each client's last request was answered, so that a repeated one is answered again and not carried out again.

A client sends one request at a time under its id (`DatabaseClient` has an id for each that it keeps in flight), so the
last answer is all that it can still ask for.
"""

import msgspec

from db_node.commands import Refusal, RefusalReason, RequestId, WriteResult

# A client is forgotten when this many others have written after it: long after it has stopped repeating a request.
CLIENTS_MAX = 10_000


class Answered(msgspec.Struct, frozen=True):
    sequence: int
    result: WriteResult


class RememberedRequests:
    """Bounded, and the same on every node: what is forgotten depends on the commands alone."""

    def __init__(self) -> None:
        # The client that wrote longest ago comes first.
        self._clients: dict[str, Answered] = {}

    @property
    def clients(self) -> dict[str, Answered]:
        """By client id, in the order in which they are forgotten; not to be changed from outside."""
        return self._clients

    def restore(self, clients: dict[str, Answered]) -> None:
        self._clients = clients

    def recall(self, request_id: RequestId) -> WriteResult | None:
        """What the request was answered; None if it is new."""
        answered = self._clients.get(request_id.client_id)
        if answered is None or request_id.sequence > answered.sequence:
            return None
        if request_id.sequence == answered.sequence:
            return answered.result
        return Refusal(RefusalReason.REQUEST_FORGOTTEN, "the client has sent another request since")

    def remember(self, request_id: RequestId, result: WriteResult) -> None:
        self._clients.pop(request_id.client_id, None)
        self._clients[request_id.client_id] = Answered(request_id.sequence, result)
        if len(self._clients) > CLIENTS_MAX:
            del self._clients[next(iter(self._clients))]
