"""What recent requests were answered, so that a repeated one is answered again and not carried out again."""

import msgspec

from db_node.commands import Refusal, RefusalReason, RequestId, WriteResult

# A client keeps far fewer than this many requests in flight (utils/db_client/client.py).
RESULTS_PER_CLIENT_MAX = 128
# A client is forgotten when this many others have written after it: long after it has stopped repeating a request.
CLIENTS_MAX = 1_000


class ClientMemory(msgspec.Struct):
    # No request at or below it is carried out: its result may have been forgotten.
    forgotten_through: int
    results: dict[int, WriteResult]


class RememberedRequests:
    """Bounded, and the same on every node: what is forgotten depends on the commands alone."""

    def __init__(self) -> None:
        # The client that wrote longest ago comes first.
        self._clients: dict[str, ClientMemory] = {}

    @property
    def clients(self) -> dict[str, ClientMemory]:
        """By client id, in the order in which they are forgotten; not to be changed from outside."""
        return self._clients

    def restore(self, clients: dict[str, ClientMemory]) -> None:
        self._clients = clients

    def recall(self, request_id: RequestId) -> WriteResult | None:
        """What the request was answered; None if it is new."""
        memory = self._clients.get(request_id.client_id)
        if memory is None:
            return None
        result = memory.results.get(request_id.sequence)
        if result is None and request_id.sequence <= memory.forgotten_through:
            return Refusal(RefusalReason.REQUEST_FORGOTTEN, "the request is too old to tell whether it was carried out")
        return result

    def remember(self, request_id: RequestId, result: WriteResult) -> None:
        memory = self._clients.pop(request_id.client_id, None) or ClientMemory(0, {})
        self._clients[request_id.client_id] = memory
        memory.results[request_id.sequence] = result
        if len(memory.results) > RESULTS_PER_CLIENT_MAX:
            memory.forgotten_through = min(memory.results)
            del memory.results[memory.forgotten_through]
        if len(self._clients) > CLIENTS_MAX:
            del self._clients[next(iter(self._clients))]
