"""Linearizable reads by ReadIndex: dissertation, section 6.4."""

import pytest

from tests.unit.raft.core.support import FIVE, HEARTBEAT_TICKS, Bench, entries_of
from utils.raft.core.messages import AppendEntriesRequest, AppendEntriesResponse
from utils.raft.errors import NotLeaderError


def test_only_the_leader_serves_reads() -> None:
    bench = Bench(term=1)
    bench.follow("b")
    with pytest.raises(NotLeaderError) as refused:
        bench.core.request_read()
    assert refused.value.leader_id == "b"


def test_a_read_is_confirmed_by_a_majority_that_heard_of_it() -> None:
    bench = Bench(voters=FIVE)
    bench.lead_ready()
    read_id = bench.core.request_read()
    bench.drain()
    assert [request.read_id for request in bench.sent_to("e", AppendEntriesRequest)] == [read_id]
    bench.accept("b", 1, read_id=read_id)
    bench.accept("b", 1, read_id=read_id)
    assert bench.confirmed_reads == []
    bench.accept("c", 1, read_id=read_id)
    assert bench.confirmed_reads == [(read_id, 1)]
    bench.accept("d", 1, read_id=read_id)
    assert bench.confirmed_reads == [(read_id, 1)]


def test_answers_to_messages_from_before_the_read_do_not_confirm_it() -> None:
    bench = Bench()
    bench.lead_ready()
    first = bench.core.request_read()
    bench.drain()
    second = bench.core.request_read()
    bench.accept("b", 1, read_id=first)
    assert bench.confirmed_reads == [(first, 1)]
    bench.accept("b", 1, read_id=first)
    bench.accept("c", 1, read_id=0)
    assert bench.confirmed_reads == [(first, 1)]
    bench.accept("c", 1, read_id=second)
    assert bench.confirmed_reads == [(first, 1), (second, 1)]


def test_a_rejection_confirms_leadership_too() -> None:
    bench = Bench()
    bench.lead_ready()
    read_id = bench.core.request_read()
    bench.receive("b", AppendEntriesResponse(1, success=False, rejected_index=1, conflict_index=1, read_id=read_id))
    assert bench.confirmed_reads == [(read_id, 1)]


def test_a_read_sees_what_was_committed_when_it_came() -> None:
    bench = Bench()
    bench.lead_ready()
    read_id = bench.core.request_read()
    bench.core.propose([b"x"])
    bench.drain()
    bench.accept("b", 2, read_id=read_id)
    assert bench.core.commit_index == 2
    assert bench.confirmed_reads == [(read_id, 1)]


def test_a_read_waits_for_the_leaders_first_own_commit() -> None:
    """Before that a leader does not know what is committed."""
    bench = Bench(term=1, log=entries_of(1, 1))
    bench.lead()
    read_id = bench.core.request_read()
    bench.accept("b", 2, read_id=read_id)
    bench.accept("c", 2, read_id=read_id)
    assert bench.confirmed_reads == []
    bench.accept("b", 3, read_id=read_id)
    assert bench.confirmed_reads == [(read_id, 3)]


def test_reads_that_come_together_share_one_round() -> None:
    bench = Bench()
    bench.lead_ready()
    reads = [bench.core.request_read() for _ in range(3)]
    bench.drain()
    assert [request.read_id for request in bench.sent_to("b", AppendEntriesRequest)] == [reads[-1]]
    bench.accept("b", 1, read_id=reads[-1])
    assert bench.confirmed_reads == [(read_id, 1) for read_id in reads]


def test_the_round_is_not_repeated_before_the_next_heartbeat() -> None:
    bench = Bench()
    bench.lead_ready()
    read_id = bench.core.request_read()
    bench.drain()
    assert bench.drain() == []
    bench.tick(HEARTBEAT_TICKS)
    assert [request.read_id for request in bench.sent_to("c", AppendEntriesRequest)] == [read_id]


def test_a_deposed_leaders_reads_are_never_confirmed_and_its_next_ids_are_fresh() -> None:
    bench = Bench()
    bench.lead_ready()
    old = bench.core.request_read()
    bench.drain()
    bench.follow("b", term=2)
    bench.tick(2 * bench.timeout)
    bench.lead_ready()
    assert bench.core.request_read() > old
    bench.accept("b", bench.core.last_index, read_id=old)
    assert bench.confirmed_reads == []


def test_a_node_alone_confirms_its_reads_itself() -> None:
    bench = Bench(voters=("a",))
    bench.tick(bench.timeout)
    read_id = bench.core.request_read()
    bench.drain()
    assert bench.confirmed_reads == [(read_id, 1)]


def test_a_follower_returns_the_read_id_whatever_it_answers() -> None:
    bench = Bench(term=2)
    assert bench.append(term=2, read_id=7).read_id == 7
    assert bench.append(term=2, prev=(9, 2), read_id=8).read_id == 8
