"""Garcia-Molina's Bully, by its sentences and then under everything that a network does."""

import random

import pytest

from order_executor.bully.core import BullyCore, Kind, Message, Role, rank
from tests.unit.bully.island import LONG, TIMING, Island

NODES = tuple(f"order_executor_{number}" for number in range(1, 5))
ONE, TWO, THREE, FOUR = NODES


def test_nodes_are_ranked_by_their_number() -> None:
    names = ["order_executor_10", "order_executor_9", "a", "order_executor_2", "b"]
    assert sorted(names, key=rank) == ["a", "b", "order_executor_2", "order_executor_9", "order_executor_10"]


def test_a_node_that_starts_asks_all_higher_ones() -> None:
    node = BullyCore(TWO, NODES, TIMING)
    assert node.start() == [Message(TWO, THREE, Kind.ELECTION), Message(TWO, FOUR, Kind.ELECTION)]
    assert node.leader_id is None


def test_the_highest_node_leads_at_once_and_tells_all() -> None:
    node = BullyCore(FOUR, NODES, TIMING)
    assert node.start() == [Message(FOUR, other, Kind.COORDINATOR) for other in (ONE, TWO, THREE)]
    assert (node.role, node.leader_id, node.reign) == (Role.LEADER, FOUR, 1)


def test_a_node_that_nobody_answers_leads() -> None:
    node = BullyCore(TWO, NODES, TIMING)
    node.start()
    told = [message for _ in range(TIMING.answer) for message in node.tick()]
    assert told == [Message(TWO, other, Kind.COORDINATOR) for other in (ONE, THREE, FOUR)]
    assert node.role is Role.LEADER


def test_a_node_that_is_answered_waits_and_asks_again_if_nobody_takes_over() -> None:
    node = BullyCore(TWO, NODES, TIMING)
    node.start()
    node.step(Message(THREE, TWO, Kind.ANSWER))
    assert [message for _ in range(TIMING.takeover - 1) for message in node.tick()] == []
    assert [message.kind for message in node.tick()] == [Kind.ELECTION] * 2


def test_a_node_that_is_asked_answers_and_asks_in_its_turn() -> None:
    node = BullyCore(THREE, NODES, TIMING)
    node.start()
    node.step(Message(FOUR, THREE, Kind.COORDINATOR))
    assert node.step(Message(ONE, THREE, Kind.ELECTION)) == [
        Message(THREE, ONE, Kind.ANSWER),
        Message(THREE, FOUR, Kind.ELECTION),
    ]
    # It is asked again while it asks: once is enough.
    assert node.step(Message(TWO, THREE, Kind.ELECTION)) == [Message(THREE, TWO, Kind.ANSWER)]


def test_a_leader_that_is_asked_says_that_it_leads_and_its_reign_goes_on() -> None:
    node = BullyCore(FOUR, NODES, TIMING)
    node.start()
    assert node.step(Message(ONE, FOUR, Kind.ELECTION)) == [
        Message(FOUR, ONE, Kind.ANSWER),
        Message(FOUR, ONE, Kind.COORDINATOR),
    ]
    assert node.reign == 1


def test_a_follower_pings_its_leader_and_calls_an_election_when_it_is_silent() -> None:
    node = BullyCore(THREE, NODES, TIMING)
    node.start()
    node.step(Message(FOUR, THREE, Kind.COORDINATOR))
    for _ in range(LONG):
        assert node.tick() == [Message(THREE, FOUR, Kind.PING)]
        node.step(Message(FOUR, THREE, Kind.PONG, leads=True))
    silent = [message.kind for _ in range(TIMING.leader_silence) for message in node.tick()]
    assert silent == [Kind.PING] * (TIMING.leader_silence - 1) + [Kind.ELECTION]


def test_a_follower_calls_an_election_when_its_leader_says_that_it_does_not_lead() -> None:
    node = BullyCore(THREE, NODES, TIMING)
    node.start()
    node.step(Message(FOUR, THREE, Kind.COORDINATOR))
    assert [message.kind for message in node.step(Message(FOUR, THREE, Kind.PONG, leads=False))] == [Kind.ELECTION]


def test_a_fenced_leader_pauses_before_it_tries_again() -> None:
    node = BullyCore(FOUR, NODES, TIMING)
    node.start()
    assert node.fenced() == []
    assert [message for _ in range(TIMING.fenced - 1) for message in node.tick()] == []
    assert node.step(Message(ONE, FOUR, Kind.PING)) == [Message(FOUR, ONE, Kind.PONG, leads=False)]
    assert {message.kind for message in node.tick()} == {Kind.COORDINATOR}
    assert node.reign == 2


def test_the_highest_node_that_is_up_leads_and_all_others_follow_it() -> None:
    island = Island(NODES)
    island.run()
    assert island.leaders() == {FOUR}
    assert island.followed(NODES) == {FOUR}


def test_the_next_highest_takes_over_and_the_old_leader_takes_over_again() -> None:
    island = Island(NODES)
    island.run()
    island.down = {FOUR}
    island.run()
    assert island.leaders() == {THREE}
    assert island.followed((ONE, TWO, THREE)) == {THREE}
    island.down = {FOUR, THREE, ONE}
    island.run()
    assert island.leaders() == {TWO}
    island.start(FOUR)
    island.run(1)
    assert island.leaders() == {FOUR}


def test_a_leader_that_resigns_is_replaced_without_a_wait_for_its_silence() -> None:
    island = Island(NODES)
    island.run()
    island.deliver(island.nodes[FOUR].resign())
    island.run(TIMING.answer + 1)
    assert island.leaders() == {THREE}
    # It sees who has taken over, and leads no more.
    assert island.followed(NODES) == {THREE}
    island.down = {ONE, TWO, THREE}
    island.run()
    assert island.leaders() == set()


def test_both_sides_of_a_split_have_a_leader_and_one_remains_when_it_heals() -> None:
    island = Island(NODES)
    island.run()
    island.groups = [{FOUR, ONE}, {THREE, TWO}]
    island.run()
    assert island.leaders() == {FOUR, THREE}
    assert island.nodes[FOUR].reign == 1
    island.groups = [set(NODES)]
    island.run(TIMING.repeat + 1)
    assert island.leaders() == {FOUR}
    assert island.followed(NODES) == {FOUR}


def test_a_quiet_cluster_has_no_elections() -> None:
    island = Island(NODES)
    island.run()
    island.sent.clear()
    island.run(1_000)
    assert {message.kind for message in island.sent} == {Kind.PING, Kind.PONG, Kind.COORDINATOR}
    assert [node.reign for node in island.nodes.values()] == [0, 0, 0, 1]


@pytest.mark.parametrize("seed", range(200))
def test_whatever_happens_the_highest_node_leads_alone_once_the_network_is_well(seed: int) -> None:
    """Crashes, restarts, splits, fences, and messages that are lost or late, from a seed."""
    chance = random.Random(seed)
    nodes = tuple(f"order_executor_{number}" for number in range(1, chance.choice((2, 3, 4, 5)) + 1))
    island = Island(nodes, seed)
    elections = 0
    for _ in range(40):
        island.loss, island.late = chance.choice(((0, 0), (0.3, 0.3), (0, 0.8), (0.9, 0.1)))
        match chance.randrange(6):
            case 0:
                island.down.add(chance.choice(nodes))
            case 1:
                island.start(chance.choice(nodes))
            case 2:
                side = set(chance.sample(nodes, chance.randrange(len(nodes))))
                island.groups = [side, set(nodes) - side]
            case 3:
                island.deliver(island.nodes[chance.choice(nodes)].fenced())
            case 4:
                island.groups = [set(nodes)]
            case 5:
                # One that was stopped goes on from where it was.
                island.down.discard(chance.choice(nodes))
        island.run(chance.randrange(20))
        elections += sum(message.kind is Kind.ELECTION for message in island.sent)
        island.sent.clear()
    island.loss = island.late = 0
    island.groups = [set(nodes)]
    up = set(nodes) - island.down
    if not up:
        island.start(nodes[0])
        up = {nodes[0]}
    # All that is late arrives first, and then nothing is late any more.
    island.run(2 * LONG)
    highest = max(up, key=rank)
    assert island.leaders() == {highest}
    assert island.followed(up) == {highest}
    # A run without an election proves nothing.
    assert elections > 0
