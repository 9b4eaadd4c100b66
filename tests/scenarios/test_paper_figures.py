"""Figures 7 and 8 of the Raft paper (extended version), played with real cores."""

import pytest

from tests.scenarios.table import Table
from tests.unit.raft.core.support import ELECTION_TICKS, HEARTBEAT_TICKS
from utils.raft.core.messages import AppendEntriesRequest, Message

_LEADER_OF_TERM_8 = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)


@pytest.mark.parametrize(
    "follower",
    [
        (1, 1, 1, 4, 4, 5, 5, 6, 6),
        (1, 1, 1, 4),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
        (1, 1, 1, 4, 4, 4, 4),
        (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
    ],
    ids="abcdef",
)
def test_a_leader_brings_a_log_that_misses_or_has_extra_entries_to_its_own_5_3_figure_7(
    follower: tuple[int, ...],
) -> None:
    table = Table({"l": _LEADER_OF_TERM_8, "m": _LEADER_OF_TERM_8, "f": follower}, term=7)
    table.elect("l")
    assert table["l"].hard_state.current_term == 8
    table.heartbeat("l")
    table.heartbeat("l")
    assert table["l"].terms == (*_LEADER_OF_TERM_8, 8)
    assert table["f"].log == table["l"].log
    assert [entry.index for entry in table["f"].committed] == list(range(1, 12))


def _figure_8_c() -> Table:
    """a leads in term 4; its entry 2, of term 2, is now on a majority; nothing of term 4 has left it."""
    table = Table({"a": (1, 2), "b": (1, 2), "c": (1,), "d": (1,), "e": (1,)}, term=2)
    # (b) e is elected in term 3 by c and d, appends an entry at index 2 and crashes.
    table.crash("a")
    table.elect("e", without="b")
    assert table["e"].terms == (1, 3)
    table.crash("e")
    table.restart("a")
    table.elect("a", without="d")
    assert table["a"].hard_state.current_term == 4
    assert table["a"].terms == (1, 2, 4)
    return table


def _carries_no_entry_of_term_4(message: Message) -> bool:
    return not (isinstance(message.body, AppendEntriesRequest) and any(e.term == 4 for e in message.body.entries))


def test_an_entry_of_an_older_term_on_a_majority_may_still_be_overwritten_5_4_2_figure_8_d() -> None:
    table = _figure_8_c()
    table.step("a", "c", AppendEntriesRequest(4, 1, 1, (table["a"].log[1],), 0))
    table.deliver(_carries_no_entry_of_term_4)
    table.tick("a", ticks=HEARTBEAT_TICKS)
    table.deliver(_carries_no_entry_of_term_4)
    assert [table[node_id].terms[:2] for node_id in "abc"] == [(1, 2)] * 3
    # Entry 2 is on three of five disks, and nobody may call it committed.
    assert all(not node.committed for node in table.nodes.values())
    table.crash("a")
    table.restart("e")
    table.elect("e", without="a")
    table.heartbeat("e")
    table.heartbeat("e")
    assert [table[node_id].terms[:2] for node_id in "bcde"] == [(1, 3)] * 4


def test_once_an_entry_of_its_own_term_is_on_a_majority_all_before_it_is_committed_5_4_2_figure_8_e() -> None:
    table = _figure_8_c()
    table.crash("d")
    table.heartbeat("a")
    table.heartbeat("a")
    assert [entry.term for entry in table["a"].committed] == [1, 2, 4]
    table.crash("a")
    table.restart("d", "e")
    # e cannot win: a majority holds what it lacks. However often it tries.
    table.time_out("e")
    for _ in range(3):
        table.deliver()
        assert not table["e"].leads()
        table.tick("e", ticks=2 * ELECTION_TICKS)
