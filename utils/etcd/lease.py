"""A lease of etcd's, and how long its holder may rely on it."""

import asyncio

from utils.etcd.client import EtcdClient
from utils.etcd.errors import EtcdError, EtcdUnavailableError
from utils.observe.logging import get_logger
from utils.rpc.transport import backoff_s

log = get_logger()

# etcd counts a lease from when it hears of it, by its own clock. Its holder counts from before it asked, on a clock
# that may be so much slower than etcd's.
CLOCK_DRIFT_MAX = 0.1
_KEEP_ALIVES_PER_LEASE = 4
_REVOKE_TIMEOUT_S = 1.0


class Lease:
    """Ends here before it ends in etcd, and never begins again."""

    def __init__(self, client: EtcdClient, lease_id: int, granted_s: int, asked_at: float) -> None:
        self._client = client
        self.id = lease_id
        self._loop = asyncio.get_running_loop()
        self._granted_s = granted_s
        # For its holder, by the loop's clock.
        self.ends_at = self._end(granted_s, asked_at)

    @classmethod
    async def grant(cls, client: EtcdClient, ttl_s: int) -> "Lease":
        """Raises EtcdError."""
        asked_at = asyncio.get_running_loop().time()
        granted = await client.grant_lease(ttl_s, timeout_s=ttl_s)
        return cls(client, granted.ID, granted.TTL, asked_at)

    @property
    def is_held(self) -> bool:
        return self._loop.time() < self.ends_at

    async def keep_alive(self) -> None:
        """Returns when the lease is over: it has ended in etcd, or nobody has extended it in time."""
        interval_s = self._granted_s / _KEEP_ALIVES_PER_LEASE
        failures = 0
        while self.is_held:
            asked_at = self._loop.time()
            try:
                # What is late is not waited for: another member may answer.
                async with asyncio.timeout_at(min(self.ends_at, asked_at + interval_s)):
                    ttl_s = await self._client.keep_lease_alive(self.id, timeout_s=interval_s)
            except (EtcdError, TimeoutError) as error:
                failures += 1
                log.info("the lease was not extended", why=str(error) or "no answer in time", tries=failures)
                await asyncio.sleep(min(backoff_s(failures), interval_s))
                continue
            failures = 0
            # The answer may come after the end, to a process that was stopped: then the end counts.
            if ttl_s == 0 or not self.is_held:
                self.ends_at = min(self.ends_at, asked_at)
                return
            self.ends_at = self._end(ttl_s, asked_at)
            await asyncio.sleep(interval_s)

    async def revoke(self) -> None:
        """So that others need not wait for its end; if etcd does not hear of it, they do."""
        self.ends_at = min(self.ends_at, self._loop.time())
        try:
            await self._client.revoke_lease(self.id, timeout_s=_REVOKE_TIMEOUT_S)
        except EtcdUnavailableError as error:
            log.info("the lease was not revoked", why=str(error))

    @staticmethod
    def _end(ttl_s: int, asked_at: float) -> float:
        return asked_at + ttl_s * (1 - CLOCK_DRIFT_MAX)
