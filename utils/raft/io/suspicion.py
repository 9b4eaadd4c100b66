"""Whether a leader whose stream has ended is gone: then nobody has to wait for an election timeout.

A process that dies takes its sockets with it. Its stream here ends at once, and a new connection is refused. That is a
hint and no proof, and nothing rests on it: a peer that is stopped or cut off refuses nothing, and the election timeout
finds it. A false hint does no harm: pre-votes are refused by whoever hears the leader (dissertation, 9.6).
"""

import asyncio
from collections.abc import Callable

# A live peer on the same network answers in far less.
_CONNECT_TIMEOUT_S = 0.2


class Suspicion:
    """Looks whether anybody listens at the address of a peer whose stream has ended."""

    def __init__(self, suspect: Callable[[str], None]) -> None:
        """`suspect(peer)`: nobody listens there. Called in the event loop."""
        self._suspect = suspect
        self._checks: set[asyncio.Task[None]] = set()

    def stream_ended(self, peer: str, address: str) -> None:
        """Never blocks."""
        check = asyncio.create_task(self._check(peer, address))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)

    async def stop(self) -> None:
        for check in self._checks:
            check.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)

    async def _check(self, peer: str, address: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except ConnectionRefusedError:
            self._suspect(peer)
        except OSError:
            # No route, no name, no answer in time: that tells nothing about the process.
            return
        else:
            writer.close()
