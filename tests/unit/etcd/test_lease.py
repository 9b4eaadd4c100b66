"""A lease ends for its holder before it ends in etcd, and once over it stays over."""

import asyncio

import pytest

from utils.etcd.errors import EtcdUnavailableError
from utils.etcd.lease import CLOCK_DRIFT_MAX, Lease
from utils.pb import etcd_pb2 as pb

GRANTED_S = 1


class EtcdDouble:
    """Grants and extends after `late_s` seconds; `ttl_s` is what it says then, None: nothing."""

    def __init__(self) -> None:
        self.late_s = 0.0
        self.ttl_s: int | None = GRANTED_S
        self.asked = 0
        self.revoked: list[int] = []

    async def grant_lease(self, ttl_s: int, *, timeout_s: float) -> pb.LeaseGrantResponse:
        await asyncio.sleep(self.late_s)
        return pb.LeaseGrantResponse(ID=7, TTL=ttl_s)

    async def keep_lease_alive(self, lease_id: int, *, timeout_s: float) -> int:
        self.asked += 1
        await asyncio.sleep(self.late_s)
        if self.ttl_s is None:
            raise EtcdUnavailableError("away")
        return self.ttl_s

    async def revoke_lease(self, lease_id: int, *, timeout_s: float) -> None:
        self.revoked.append(lease_id)
        if self.ttl_s is None:
            raise EtcdUnavailableError("away")


async def granted(etcd: EtcdDouble) -> Lease:
    return await Lease.grant(etcd, GRANTED_S)  # type: ignore[arg-type]


async def test_it_counts_from_before_it_was_asked_for_and_a_little_less() -> None:
    etcd = EtcdDouble()
    etcd.late_s = 0.3
    asked_at = asyncio.get_running_loop().time()
    lease = await granted(etcd)
    assert lease.is_held
    assert lease.ends_at == pytest.approx(asked_at + GRANTED_S * (1 - CLOCK_DRIFT_MAX), abs=0.1)


async def test_it_is_held_for_as_long_as_it_is_extended() -> None:
    etcd = EtcdDouble()
    lease = await granted(etcd)
    keeping = asyncio.create_task(lease.keep_alive())
    await asyncio.sleep(1.5 * GRANTED_S)
    assert lease.is_held
    assert not keeping.done()
    etcd.ttl_s = 0
    await asyncio.wait_for(keeping, 5)
    assert not lease.is_held, "etcd has said that it is over"


async def test_it_ends_by_itself_when_nobody_answers() -> None:
    etcd = EtcdDouble()
    lease = await granted(etcd)
    etcd.ttl_s = None
    await asyncio.wait_for(lease.keep_alive(), 5)
    assert etcd.asked >= 2, "it has been tried more than once"
    assert not lease.is_held


async def test_an_answer_that_comes_after_its_end_brings_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that was stopped between the question and the answer."""
    etcd = EtcdDouble()
    lease = await granted(etcd)
    loop = asyncio.get_running_loop()
    before = loop.time

    async def answer_late(lease_id: int, *, timeout_s: float) -> int:
        monkeypatch.setattr(loop, "time", lambda: before() + 3_600)
        return GRANTED_S

    monkeypatch.setattr(etcd, "keep_lease_alive", answer_late)
    await lease.keep_alive()
    assert not lease.is_held
    monkeypatch.undo()
    assert not lease.is_held, "it stays over"


@pytest.mark.parametrize("ttl_s", [GRANTED_S, None])
async def test_who_gives_it_up_does_not_hold_it_whatever_etcd_says(ttl_s: int | None) -> None:
    etcd = EtcdDouble()
    lease = await granted(etcd)
    etcd.ttl_s = ttl_s
    await lease.revoke()
    assert not lease.is_held
    assert etcd.revoked == [lease.id]
