"""DecisionLogService over a stand-in for consensus: what is refused, what is read, and what a snapshot keeps."""

from typing import Any

import msgspec
import pytest

from db_node import decision_servicer
from db_node.database_machine import DatabaseMachine
from db_node.decision_servicer import COMMANDS_MAX, DecisionLogServicer
from tests.unit.db_node.fake_consensus import FakeConsensus
from tests.unit.db_node.test_servicer import Context
from tests.unit.db_node.words import Database
from tests.unit.two_phase_commit_decision_log.test_decision_log import commit, reject
from tests.unit.two_phase_commit_participant.words import abort, attempt
from utils.pb import decision_log_pb2 as pb
from utils.raft.errors import OutcomeUnknownError
from utils.rpc.errors import FailedPrecondition, InvalidArgument, NotLeader, Unavailable
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.decision_convert import command_to_proto, order_decision_from_proto
from utils.two_phase_commit.decision_log import Command, PublishFinished, RecordDecision, RecordFinished
from utils.two_phase_commit.messages import Attempt


class Primary(DecisionLogServicer):
    def __init__(self) -> None:
        self.db = Database()
        self.consensus = FakeConsensus(self.db)
        super().__init__(self.consensus, self.db)

    async def raise_epoch(self, expected: int, node_id: str = "a", incarnation: str = "a1") -> pb.Epoch:
        request = pb.RaiseEpochRequest(expected_number=expected, node_id=node_id, incarnation=incarnation)
        return (await self.RaiseEpoch(request, Context())).epoch

    async def record(self, epoch: pb.Epoch, *commands: Command) -> list[OrderDecision | None]:
        request = pb.RecordDecisionsRequest(epoch=epoch, commands=[command_to_proto(command) for command in commands])
        response = await self.RecordDecisions(request, Context())
        return [
            order_decision_from_proto(result.decision) if result.HasField("decision") else None
            for result in response.results
        ]

    async def page(self, after: int) -> tuple[list[OrderDecision], bool, list[str]]:
        response = await self.ReadDecisions(pb.ReadDecisionsRequest(after=after), Context())
        decisions = [order_decision_from_proto(decision) for decision in response.decisions]
        return decisions, response.more, list(response.unfinished_order_ids)


@pytest.fixture
def primary() -> Primary:
    return Primary()


async def test_an_epoch_is_raised_by_compare_and_set_and_read_again(primary: Primary) -> None:
    assert (await primary.GetEpoch(pb.GetEpochRequest(), Context())).epoch == pb.Epoch()
    first = await primary.raise_epoch(0)
    assert first == pb.Epoch(number=1, node_id="a", incarnation="a1")
    assert await primary.raise_epoch(0, "b", "b1") == first
    second = await primary.raise_epoch(1, "b", "b1")
    assert (second.number, second.node_id) == (2, "b")
    assert (await primary.GetEpoch(pb.GetEpochRequest(), Context())).epoch == second


async def test_an_epoch_is_above_every_attempt_that_the_database_has_seen(primary: Primary) -> None:
    """Executors that elected by Raft before have left terms as epochs, and the fence must rise."""
    primary.db.prepare(attempt(epoch=7))
    primary.db.decide(abort(attempt(epoch=7)))
    # The order is finished, and forgotten.
    primary.db.prepare(attempt(epoch=6, order=2), finished_below=1_000)
    assert (await primary.raise_epoch(0)).number == 8


async def test_a_deposed_leader_is_told_so_and_nothing_is_recorded(primary: Primary) -> None:
    old = await primary.raise_epoch(0)
    assert await primary.record(old, RecordDecision(commit(1)), RecordFinished(commit(9).order_id)) == [commit(1), None]
    await primary.raise_epoch(1, "b", "b1")
    before = primary.db.snapshot()
    with pytest.raises(FailedPrecondition) as refused:
        await primary.record(old, RecordDecision(commit(2)), RecordFinished(commit(1).order_id))
    assert refused.value.metadata == {"reason": "epoch_over", "epoch": "2"}
    assert primary.db.snapshot() == before


async def test_decisions_are_read_in_pages_and_the_last_says_what_is_unfinished(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_servicer, "PAGE", 3)
    epoch = await primary.raise_epoch(0)
    decisions = [commit(number) if number % 2 else reject(number) for number in range(5)]
    await primary.record(epoch, *map(RecordDecision, decisions), RecordFinished(decisions[2].order_id))
    assert await primary.page(0) == (decisions[:3], True, [])
    unfinished = [decision.order_id for decision in decisions if decision is not decisions[2]]
    assert await primary.page(3) == (decisions[3:], False, unfinished)
    assert await primary.page(5) == ([], False, unfinished)


async def test_what_is_finished_is_forgotten_and_counted(primary: Primary) -> None:
    epoch = await primary.raise_epoch(0)
    finished = [RecordFinished(commit(number).order_id) for number in (1, 2)]
    await primary.record(epoch, *(RecordDecision(commit(number)) for number in (1, 2, 3)), *finished)
    assert await primary.record(epoch, PublishFinished(9), RecordDecision(commit(1))) == [None, None]
    response = await primary.ReadDecisions(pb.ReadDecisionsRequest(), Context())
    assert [order_decision_from_proto(decision) for decision in response.decisions] == [commit(3)]
    assert (response.finished_below, response.forgotten_count) == (3, 2)


async def test_a_replica_answers_nothing_and_an_unknown_outcome_is_said(primary: Primary) -> None:
    epoch = await primary.raise_epoch(0)
    primary.consensus.failures.append(OutcomeUnknownError("leadership was lost"))
    with pytest.raises(Unavailable):
        await primary.record(epoch, RecordDecision(commit(1)))
    primary.consensus.lose_leadership()
    for call in (
        primary.raise_epoch(1),
        primary.record(epoch, RecordDecision(commit(1))),
        primary.page(0),
        primary.GetEpoch(pb.GetEpochRequest(), Context()),
    ):
        with pytest.raises(NotLeader) as redirect:
            await call
        assert redirect.value.leader_address == "db-node2:50052"


def proposal(**changes: Any) -> pb.DecisionCommand:
    command = command_to_proto(RecordDecision(commit(1)))
    for name, value in changes.items():
        setattr(command.decision, name, value)
    return command


EPOCH = pb.Epoch(number=1, node_id="a", incarnation="a1")


@pytest.mark.parametrize(
    ("epoch", "commands"),
    [
        (pb.Epoch(number=1), [proposal()]),
        (pb.Epoch(number=1, node_id="a" * 65, incarnation="a1"), [proposal()]),
        (EPOCH, []),
        (EPOCH, [proposal()] * (COMMANDS_MAX + 1)),
        (EPOCH, [pb.DecisionCommand()]),
        (EPOCH, [pb.DecisionCommand(finished_order_id="1")]),
        (EPOCH, [pb.DecisionCommand(decision=pb.OrderDecision(commit=True))]),
        # A rejection without a reason.
        (EPOCH, [proposal(commit=False)]),
        (EPOCH, [proposal(), pb.DecisionCommand(finished_order_id="x" * 32)]),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    primary: Primary, epoch: pb.Epoch, commands: list[pb.DecisionCommand]
) -> None:
    await primary.raise_epoch(0)
    before = primary.db.snapshot()
    with pytest.raises(InvalidArgument):
        await primary.RecordDecisions(pb.RecordDecisionsRequest(epoch=epoch, commands=commands), Context())
    for node_id, incarnation in (("", "x"), ("x", ""), ("x", "y" * 65)):
        with pytest.raises(InvalidArgument):
            await primary.raise_epoch(1, node_id, incarnation)
    assert primary.db.snapshot() == before


async def test_epoch_and_decisions_survive_a_snapshot_and_older_snapshots_are_read(primary: Primary) -> None:
    epoch = await primary.raise_epoch(0)
    await primary.record(
        epoch, RecordDecision(commit(1)), RecordDecision(reject(2)), RecordFinished(commit(1).order_id)
    )
    restored = DatabaseMachine()
    restored.restore(primary.db.snapshot())
    assert restored.snapshot() == primary.db.snapshot()
    assert restored.executors.epoch.incarnation == "a1"
    assert restored.executors.decisions.unfinished() == [reject(2)]
    # As it was written before there were epochs.
    state = msgspec.msgpack.decode(primary.db.snapshot()[1:])
    del state["epoch"], state["decisions"], state["highest_epoch"]
    restored.restore(msgspec.msgpack.encode(state))
    assert (restored.executors.epoch.number, restored.executors.decisions.remembered_count) == (0, 0)
    assert restored.get("stock:Book A") == primary.db.get("stock:Book A")


def test_a_command_of_each_kind_is_understood_as_it_was_meant() -> None:
    decision = OrderDecision(Attempt(commit(1).order_id, 10, 9), 1, commit=True)
    assert order_decision_from_proto(command_to_proto(RecordDecision(decision)).decision) == decision
