"""What has gone wrong in other implementations of Raft, each as a scenario between real cores."""

from tests.scenarios.table import Table
from tests.unit.raft.core.support import ELECTION_TICKS, HEARTBEAT_TICKS
from utils.raft.core.limits import Limits
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    InstallSnapshotRequest,
    PreVoteResponse,
    RequestVoteResponse,
)
from utils.raft.core.ready import Role


def _c_lacks_what_is_compacted() -> Table:
    """Of six entries c has the first, and a's log none: it needs the snapshot, in four chunks."""
    table = _three(limits=Limits(bytes_per_chunk=4))
    table.cut_off("c")
    for _ in range(5):
        table.propose("a")
        table.deliver()
    table["a"].take_snapshot()
    table.heal()
    return table


def _three(*, limits: Limits | None = None) -> Table:
    """a leads; all have and know its no-op."""
    table = Table({"a": (), "b": (), "c": ()}, limits=limits)
    table.elect("a")
    table.heartbeat("a")
    table.heartbeat("a")
    assert [table[node_id].terms for node_id in "abc"] == [(1,)] * 3
    return table


def test_votes_of_an_older_term_that_arrive_late_elect_nobody_5_2() -> None:
    table = Table({"a": (), "b": (), "c": (), "d": (), "e": ()})
    table.time_out("a")
    while table["a"].core.role is not Role.CANDIDATE:
        message = table.post.pop(0)
        table.step(message.sender, message.recipient, message.body)
    table.deliver(lambda message: not isinstance(message.body, RequestVoteResponse))
    # Two votes of term 1 are on the way, and one of term 2 comes.
    table.tick("a", ticks=2 * ELECTION_TICKS)
    for peer in "bc":
        table.step(peer, "a", PreVoteResponse(2, granted=True))
    assert (table["a"].core.role, table["a"].core.current_term) == (Role.CANDIDATE, 2)
    table.step("b", "a", RequestVoteResponse(1, granted=True))
    table.step("c", "a", RequestVoteResponse(1, granted=True))
    table.step("d", "a", RequestVoteResponse(2, granted=True))
    assert not table["a"].leads()
    table.step("e", "a", RequestVoteResponse(2, granted=True))
    assert table["a"].leads()


def test_a_stale_append_entries_truncates_nothing_figure_2() -> None:
    table = _three()
    table.propose("a", b"first")
    [early] = table.take(AppendEntriesRequest, "b")
    table.deliver()
    table.propose("a", b"second")
    table.deliver()
    table.heartbeat("a")
    table.heartbeat("a")
    acknowledged = list(table["b"].log)
    assert len(acknowledged) == 3
    table.step("a", "b", early.body)
    assert table["b"].log == acknowledged


def test_a_follower_commits_no_further_than_the_leader_has_verified_figure_2_rule_5() -> None:
    table = _three()
    # Of a's entry only c hears; a loses it with its disk's last write, and c is away while b leads.
    table.propose("a", b"of a deposed leader")
    table.deliver(lambda message: message.recipient == "c")
    table.crash("a", "c")
    table["a"].log.pop()
    table.restart("a")
    table.elect("b")
    table.propose("b", b"of the next")
    table.heartbeat("b")
    table.heartbeat("b")
    assert table["b"].core.commit_index == 3
    # c is back with another entry at index 2; a heartbeat of b proves only index 1, and says that 3 is committed.
    table.restart("c")
    table.step("b", "c", AppendEntriesRequest(2, 1, 1, (), 3))
    assert table["c"].core.commit_index == 1
    assert table["c"].terms == (1, 1)


def test_answers_of_an_older_term_count_for_nothing_5_1() -> None:
    table = Table({"a": (1,), "b": (1,), "c": (1,)}, term=1)
    table.elect("a")
    for peer in "bc":
        table.step(peer, "a", AppendEntriesResponse(1, success=True, match_index=2))
    assert table["a"].core.commit_index == 0


def test_an_old_answer_takes_no_match_index_back_5_3() -> None:
    table = _three()
    table.propose("a", b"first")
    table.deliver(lambda message: not (message.sender == "b" and message.recipient == "a"))
    late = AppendEntriesResponse(1, success=True, match_index=1)
    table.step("b", "a", AppendEntriesResponse(1, success=True, match_index=2))
    table.step("b", "a", late)
    replication = table["a"].core.replication
    assert replication is not None
    assert replication.match_index("b") == 2
    table.post.clear()
    table.crash("c")
    table.propose("a", b"second")
    sent = [message.body for message in table.post if message.recipient == "b"]
    assert [body.prev_log_index for body in sent if isinstance(body, AppendEntriesRequest)] == [2]


def test_a_new_leader_serves_no_read_before_its_first_own_commit_8() -> None:
    table = _three()
    table.propose("a", b"written")
    # It is committed, and b does not know it.
    table.deliver(lambda message: message.recipient != "c")
    assert table["a"].core.commit_index == 2
    assert table["b"].core.commit_index == 1
    table.crash("a")
    table.elect("b")
    read_id = table["b"].core.request_read()
    table._work("b")
    # c confirms that b leads, and has not got its no-op yet.
    confirmation = AppendEntriesResponse(2, success=False, rejected_index=2, conflict_index=2, read_id=read_id)
    table.step("c", "b", confirmation)
    assert table["b"].confirmed_reads == []
    table.heartbeat("b")
    table.heartbeat("b")
    [(confirmed, index)] = table["b"].confirmed_reads
    assert confirmed == read_id
    assert index >= 2


def test_entries_that_come_while_a_snapshot_is_on_its_way_are_not_undone_by_it_7() -> None:
    table = _c_lacks_what_is_compacted()
    table.heartbeat("a")
    # The snapshot has arrived in chunks; a copy of it comes late, after more entries.
    assert table["c"].snapshot.last_included_index == 6
    table.propose("a", b"after the snapshot")
    table.deliver()
    table.heartbeat("a")
    log, base = list(table["c"].log), table["c"].base
    assert log[-1].data == b"after the snapshot"
    data = table["a"].snapshot.data
    table.step("a", "c", InstallSnapshotRequest(1, 6, 1, b"", 0, data, done=True))
    assert (table["c"].log, table["c"].base) == (log, base)
    assert table["c"].core.commit_index == 7


def test_entries_are_appended_while_a_snapshot_is_sent_and_all_of_them_arrive_7() -> None:
    table = _c_lacks_what_is_compacted()
    table.tick("a", ticks=HEARTBEAT_TICKS)
    for number in range(20):
        # One message at a time, and a proposal after each.
        if table.post:
            message = table.post.pop(0)
            table.step(message.sender, message.recipient, message.body)
        table.propose("a", b"%d" % number)
    table.deliver()
    table.heartbeat("a")
    table.heartbeat("a")
    assert table["c"].core.commit_index == table["a"].core.commit_index == 26
    assert table["c"].log[-1].data == b"19"


def test_what_the_network_lost_arrives_in_the_end_5_3() -> None:
    table = _three()
    for number in range(5):
        table.propose("a", b"%d" % number)
        table.deliver(lambda message: message.recipient != "c")
    assert table["c"].terms == (1,)
    for _ in range(4):
        table.heartbeat("a")
    assert table["c"].log == table["a"].log


def test_a_snapshot_of_which_a_part_was_lost_arrives_in_the_end_7() -> None:
    table = _c_lacks_what_is_compacted()
    table.tick("a", ticks=HEARTBEAT_TICKS)
    table.deliver(lambda m: not (isinstance(m.body, InstallSnapshotRequest) and m.body.offset == 4))
    assert table["c"].snapshot.last_included_index == 0
    for _ in range(4):
        table.heartbeat("a")
    assert table["c"].snapshot.last_included_index == 6


def test_a_follower_slower_than_compaction_gets_there_in_the_end_7() -> None:
    table = _c_lacks_what_is_compacted()
    # At each step of c the leader commits more with b, and takes another snapshot.
    for _ in range(200):
        table.tick("a")
        to_c = [message for message in table.post if "c" in (message.sender, message.recipient)]
        for message in to_c[:3]:
            table.post.remove(message)
            table.step(message.sender, message.recipient, message.body)
        table.propose("a")
        held = [message for message in table.post if "c" in (message.sender, message.recipient)]
        table.post = [message for message in table.post if message not in held]
        table.deliver()
        table.post = held
        table["a"].take_snapshot()
        if table["c"].core.commit_index > 6:
            break
    assert table["c"].core.commit_index > 6


def test_a_node_that_comes_back_from_a_partition_disrupts_no_term_d_9_6() -> None:
    table = _three()
    table.cut_off("c")
    for _ in range(5):
        table.tick("c", ticks=2 * ELECTION_TICKS)
        table.heartbeat("a")
    assert table["c"].core.current_term == 1
    table.heal()
    table.tick("c", ticks=2 * ELECTION_TICKS)
    table.deliver()
    table.heartbeat("a")
    assert (table["a"].leads(), table["a"].core.current_term) == (True, 1)
    assert table["c"].core.leader_id == "a"


def test_a_node_that_comes_back_with_a_higher_term_is_heard_and_wins_nothing_5_4_1() -> None:
    """Without pre-vote, of an older program: its term deposes the leader once; its short log wins no vote."""
    table = _three()
    table.cut_off("c")
    table.propose("a", b"missed by c")
    table.deliver()
    table.heal()
    table["c"].hard_state = type(table["c"].hard_state)(7, "c")
    table.restart("c")
    table.tick("a", ticks=HEARTBEAT_TICKS)
    table.deliver()
    assert not table["a"].leads()
    assert table["a"].core.current_term == 7
    table.time_out("c")
    table.deliver()
    assert not table["c"].leads()
    table.elect("a")
    table.heartbeat("a")
    table.heartbeat("a")
    assert table["c"].log == table["a"].log
