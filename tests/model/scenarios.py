"""What is explored, and where each rule is missed first."""

from dataclasses import dataclass, replace

from tests.model.bully import BullyWorld
from tests.model.explorer import Explored, Explorer
from tests.model.fenced_log import LockstepFencedLog, ModelFencedLog
from tests.model.lockstep import lockstep_parts
from tests.model.parts import model_parts, resources
from tests.model.rules import Rule
from tests.model.scenario import Scenario
from tests.model.world import World

ONE_LEADER = Scenario("1x2", leaders=1)
TWO_LEADERS = Scenario("2x1", attempts=(1,))
DECLINED = Scenario("2x1-declined", attempts=(1,), declined=(1,))
POWER_CUTS = Scenario("2x1-power-cuts", attempts=(1,), has_power_cuts=True)
LOST_DISK = Scenario("1x1-lost-disk", leaders=1, attempts=(1,), has_lost_disk=True)
LOST_DISK_TWICE = Scenario("1x2-lost-disk", leaders=1, has_lost_disk=True)
LAST_COPY = Scenario("last-copy", leaders=1, attempts=(1, 1))
LAST_COPY_DECLINED = Scenario("last-copy-declined", leaders=1, attempts=(1, 2), declined=(1,))
TWO_BY_TWO = Scenario("2x2")
DECLINED_TWICE = Scenario("2x2-declined", declined=(1,))
THREE_LEADERS = Scenario("3x1", leaders=3, attempts=(1,), states_max=1_000_000)
LAST_COPY_TWICE = Scenario("last-copy-1x2", leaders=1, attempts=(2, 2))
BULLY = Scenario("bully-2x1", attempts=(1,), by_bully=True)
BULLY_DECLINED = Scenario("bully-2x1-declined", attempts=(1,), declined=(1,), by_bully=True)
BULLY_TWICE = Scenario("bully-2x2", by_bully=True)

# Named by leaders x attempts of each. Those of the first group take seconds, those of the second minutes; what is in
# neither takes a quarter of an hour and gigabytes, and is explored by hand.
SHORT = (ONE_LEADER, TWO_LEADERS, DECLINED, POWER_CUTS, LOST_DISK, LAST_COPY, LAST_COPY_DECLINED, BULLY, BULLY_DECLINED)
LONG = (TWO_BY_TWO, DECLINED_TWICE, THREE_LEADERS, LAST_COPY_TWICE, BULLY_TWICE)
SCENARIOS = {scenario.name: scenario for scenario in (*SHORT, *LONG, LOST_DISK_TWICE)}


@dataclass(frozen=True)
class Missed:
    """Where a rule is missed first. `also`: what else has to be away for that, if the rule is a second wall."""

    scenario: Scenario
    also: frozenset[Rule] = frozenset()
    # False: what breaks is not yet a promise, but a resource is held that no decision will free.
    only_promises: bool = True
    # Whether what breaks is that the order never ends.
    checks_end: bool = False


MISSED: dict[Rule, Missed] = {
    Rule.RECORDED_BEFORE_TOLD: Missed(TWO_LEADERS),
    Rule.COMPLETE_AFTER_ACKNOWLEDGED: Missed(ONE_LEADER),
    Rule.LEADER_APPLIES_ITS_LOG: Missed(TWO_LEADERS),
    Rule.DECIDED_IS_NOT_TRIED_AGAIN: Missed(TWO_LEADERS),
    Rule.PROPOSAL_ENDS_WITH_ITS_TERM: Missed(TWO_LEADERS),
    Rule.FIRST_DECISION_WINS: Missed(DECLINED, frozenset({Rule.PROPOSAL_ENDS_WITH_ITS_TERM})),
    Rule.UNKNOWN_IS_REPEATED: Missed(ONE_LEADER),
    Rule.TRANSIENT_NEVER_REJECTS: Missed(ONE_LEADER),
    Rule.COMMIT_NEEDS_ALL_VOTES: Missed(ONE_LEADER),
    Rule.VOTES_COUNT_FOR_THEIR_ATTEMPT: Missed(ONE_LEADER),
    Rule.NUMBER_IS_USED_ONCE: Missed(ONE_LEADER),
    Rule.VOTES_ARE_DURABLE: Missed(POWER_CUTS),
    Rule.BUSY_IS_NO_NO: Missed(LAST_COPY),
    Rule.LOWER_PREPARE_IS_REFUSED: Missed(ONE_LEADER),
    Rule.HIGHER_PREPARE_RELEASES: Missed(ONE_LEADER, only_promises=False),
    Rule.SAME_PREPARE_SAME_ANSWER: Missed(ONE_LEADER),
    Rule.ATTEMPTS_COMPARE_AS_NUMBERS: Missed(TWO_LEADERS),
    Rule.ABORT_STOPS_AT_ITS_ATTEMPT: Missed(ONE_LEADER),
    Rule.ABORT_LEAVES_A_MARK: Missed(DECLINED),
    Rule.ABORT_SPARES_A_COMMIT: Missed(TWO_LEADERS),
    Rule.COMMIT_IS_OF_ONE_ATTEMPT: Missed(LOST_DISK_TWICE),
    Rule.UNPREPARED_COMMIT_IS_AN_ALARM: Missed(LOST_DISK),
    Rule.COMMITTED_IS_REMEMBERED: Missed(ONE_LEADER, checks_end=True),
    Rule.OWN_EPOCH_IS_UNDECIDED: Missed(ONE_LEADER),
    Rule.LATER_EPOCH_IS_NOT_ANSWERED: Missed(TWO_LEADERS),
    Rule.ONLY_A_READY_LEADER_ANSWERS: Missed(TWO_LEADERS),
    Rule.EPOCH_IS_OF_ONE_LEADER: Missed(BULLY),
    Rule.EPOCH_IS_CHECKED_AS_WRITTEN: Missed(BULLY),
    Rule.READ_AFTER_RAISE: Missed(BULLY),
}


def world_of(
    scenario: Scenario,
    *,
    with_code: bool = False,
    without: frozenset[Rule] = frozenset(),
    only_promises: bool = False,
) -> World:
    """Of the model's nodes, or of the code and the model in lockstep."""
    database, payment = resources(scenario.order_ids, scenario.copies, scenario.declined_ids)
    parts = lockstep_parts(database, payment) if with_code else model_parts(database, payment, without)
    if scenario.by_bully:
        parts = replace(parts, log=LockstepFencedLog() if with_code else ModelFencedLog(without))
        return BullyWorld(scenario, parts, without, only_promises=only_promises)
    return World(scenario, parts, without, only_promises=only_promises)


def explore(scenario: Scenario, *, with_code: bool = True) -> Explored:
    """The design as it is written."""
    # After a lost disk a message can matter again that was spent before.
    return Explorer(world_of(scenario, with_code=with_code), reduces=not scenario.has_lost_disk).run()


def explore_without(rule: Rule) -> Explored:
    """The model as it would be if the rule did not hold."""
    missed = MISSED[rule]
    world = world_of(missed.scenario, without=missed.also | {rule}, only_promises=missed.only_promises)
    reduces = not missed.scenario.has_lost_disk
    return Explorer(world, reduces=reduces, checks_end=missed.checks_end).run()
