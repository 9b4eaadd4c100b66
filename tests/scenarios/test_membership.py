"""Accidents of changing membership, played with real cores (dissertation, chapter 4)."""

import pytest

from tests.scenarios.table import Table
from utils.raft.core.configuration import AddLearner, Change, Promote, Remove
from utils.raft.errors import MembershipBusyError


def _change(table: Table, leader: str, change: Change) -> None:
    """What the leader then sends is on the way."""
    table[leader].core.change_membership(change)
    table._work(leader)


def _led_by_a(*node_ids: str) -> Table:
    """a leads, and everybody has what it has committed."""
    table = Table(dict.fromkeys(node_ids, (1,)), term=1)
    table.elect("a")
    for _ in range(3):
        table.heartbeat("a")
    return table


def test_two_leaders_with_a_change_each_in_flight_have_no_majorities_apart_4_1() -> None:
    """a removes d, and b, elected without knowing, removes a: a and c would be a majority for one, b and d for one."""
    table = _led_by_a("a", "b", "c", "d")
    _change(table, "a", Remove("d"))
    table.crash("a")
    table.elect("b")
    # The condition of 2015: without an entry of its own term b would remove a with the help of d alone.
    with pytest.raises(MembershipBusyError):
        table["b"].core.change_membership(Remove("a"))
    table.heartbeat("b")
    table.heartbeat("b")
    _change(table, "b", Remove("a"))
    table.deliver(lambda message: "c" not in {message.sender, message.recipient})
    assert table["b"].core.commit_index == table["b"].core.last_index
    # By its own configuration c is all that a needs; but c has b's entry, which a lacks.
    table.restart("a")
    table.time_out("a")
    table.deliver(lambda message: {message.sender, message.recipient} == {"a", "c"})
    assert not table["a"].leads()
    assert table["c"].core.current_term == table["b"].core.current_term


def test_a_learner_votes_when_it_is_a_voter_by_a_configuration_that_it_has_not_seen_4_2_2() -> None:
    table = _led_by_a("a", "b", "d")
    for change in (Remove("d"), AddLearner("d", "host:4")):
        _change(table, "a", change)
        for _ in range(3):
            table.heartbeat("a")
    _change(table, "a", Promote("d"))
    table.deliver(lambda message: message.recipient != "d")
    assert table["a"].core.commit_index == table["a"].core.last_index
    assert set(table["d"].core.configuration.learners) == {"d"}
    # The learner's is the vote that is missing to a majority of three.
    table.crash("a")
    table.elect("b")
    assert table["d"].hard_state.voted_for == "b"


def test_the_others_go_on_at_once_when_a_leader_removes_itself_4_2_2() -> None:
    table = _led_by_a("a", "b", "c")
    term = table["a"].core.current_term
    _change(table, "a", Remove("a"))
    table.deliver()
    assert not table["a"].leads()
    [leader] = [node for node in table.nodes.values() if node.leads()]
    assert (leader.node_id in {"b", "c"}, leader.core.current_term) == (True, term + 1)
    # No time has passed: nobody had to miss a leader.


def test_a_removed_node_that_comes_back_with_a_high_term_disturbs_nobody_4_2_3() -> None:
    table = _led_by_a("a", "b", "c")
    term = table["a"].core.current_term
    table.cut_off("c")
    _change(table, "a", Remove("c"))
    table.deliver()
    for _ in range(30):
        table.heartbeat("a")
    table.heal()
    table.tick("c", ticks=100)
    table.deliver()
    assert table["a"].leads()
    assert {table[node_id].core.current_term for node_id in ("a", "b")} == {term}
