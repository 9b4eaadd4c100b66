"""The slice of the model that every run of the suite explores, with the project's own code in lockstep."""

from collections.abc import Callable

import pytest

from tests.model.explorer import Explorer
from tests.model.rules import RULES, Rule
from tests.model.scenario import Scenario
from tests.model.scenarios import (
    BULLY,
    LONG,
    MISSED,
    ONE_LEADER,
    SHORT,
    TWO_LEADERS,
    explore,
    explore_without,
    world_of,
)
from utils.two_phase_commit.coordinator import Coordinator
from utils.two_phase_commit.messages import Acknowledgement, Attempt, Decision, Vote
from utils.two_phase_commit.participant import Participant

# Three leaders: enough for each of them to take the order, ask, decide and tell.
DEPTH_MIN = 15


def expect_no_fault(scenario: Scenario) -> None:
    explored = explore(scenario)
    assert explored.counter_example is None, f"\n{explored.counter_example}"
    assert explored.is_complete or (scenario.states_max is not None and explored.depth >= DEPTH_MIN)


@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.name)
def test_code_and_model_agree_and_keep_the_promises_in_every_state(scenario: Scenario) -> None:
    expect_no_fault(scenario)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("scenario", LONG, ids=lambda scenario: scenario.name)
def test_code_and_model_agree_in_every_state_of_the_long_scenarios(scenario: Scenario) -> None:
    expect_no_fault(scenario)


@pytest.mark.parametrize("rule", Rule)
def test_a_rule_that_is_taken_away_is_missed(rule: Rule) -> None:
    assert explore_without(rule).counter_example is not None, RULES[rule]


@pytest.mark.parametrize("rule", [rule for rule in Rule if MISSED[rule].also])
@pytest.mark.parametrize("scenario", [TWO_LEADERS, ONE_LEADER, BULLY], ids=lambda scenario: scenario.name)
def test_a_second_wall_is_not_missed_while_the_first_stands(rule: Rule, scenario: Scenario) -> None:
    explored = Explorer(world_of(scenario, without=frozenset({rule}))).run()
    assert explored.is_complete


@pytest.mark.parametrize(
    "scenario",
    [
        ONE_LEADER,
        pytest.param(TWO_LEADERS, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)]),
        pytest.param(BULLY, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)]),
    ],
    ids=lambda scenario: scenario.name,
)
def test_what_the_explorer_leaves_out_hides_no_state(scenario: Scenario) -> None:
    seen = []
    for reduces in (True, False):
        world = world_of(scenario)
        explorer = Explorer(world, reduces=reduces)
        assert explorer.run().is_complete
        seen.append({world.outside(state) for state in explorer.known})
    assert seen[0] == seen[1]


def gives_up_too_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Coordinator, "has_given_up", lambda self, attempt: attempt.number <= self.attempt.number)


def leaves_no_mark(patch: pytest.MonkeyPatch) -> None:
    abort = Participant._abort

    def forgetful(participant: Participant[object], attempt: Attempt, position: int) -> Acknowledgement:
        if attempt.order_id not in participant.records:
            return Acknowledgement(attempt, done=True)
        return abort(participant, attempt, position)

    patch.setattr(Participant, "_abort", forgetful)


def lowers_the_fence(patch: pytest.MonkeyPatch) -> None:
    prepare = Participant.prepare

    def trusting(participant: Participant[object], attempt: Attempt, position: int, work: object) -> Vote:
        record = participant.records.get(attempt.order_id)
        if record is not None and record.phase == "aborted" and attempt < record.attempt:
            participant._records.pop(attempt.order_id)
        return prepare(participant, attempt, position, work)

    patch.setattr(Participant, "prepare", trusting)


def tells_an_old_rejection_only(patch: pytest.MonkeyPatch) -> None:
    def told(coordinator: Coordinator) -> Decision:
        assert coordinator.decision is not None
        return Decision(coordinator.decision.attempt, coordinator.decision.commit)

    patch.setattr(Coordinator, "_told", told)


def counts_votes_of_any_attempt(patch: pytest.MonkeyPatch) -> None:
    voted = Coordinator.voted

    def trusting(coordinator: Coordinator, participant: str, vote: Vote) -> object:
        return voted(coordinator, participant, Vote(coordinator.attempt, vote.kind, vote.reasons, vote.other_attempt))

    patch.setattr(Coordinator, "voted", trusting)


PLANTED_BUGS = (
    gives_up_too_early,
    leaves_no_mark,
    lowers_the_fence,
    tells_an_old_rejection_only,
    counts_votes_of_any_attempt,
)


@pytest.mark.parametrize("plant", PLANTED_BUGS, ids=lambda plant: plant.__name__)
def test_a_bug_planted_in_the_code_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert any(explore(scenario).counter_example is not None for scenario in SHORT)
