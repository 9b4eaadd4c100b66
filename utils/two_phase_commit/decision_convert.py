"""Between the messages of utils/pb/decision_log.proto and the words of the decision log.

Every `..._from_proto` raises InvalidArgument for what is missing or out of its range.
"""

from utils.domain.order import ORDER_ID, REASONS_MAX
from utils.pb import decision_log_pb2 as pb
from utils.pb.convert import packed_story_from_proto, reason_from_proto, reason_to_proto
from utils.rpc.errors import InvalidArgument
from utils.two_phase_commit.actions import OrderDecision
from utils.two_phase_commit.convert import attempt_from_proto, attempt_to_proto
from utils.two_phase_commit.decision_log import Command, PublishFinished, RecordDecision, RecordFinished
from utils.two_phase_commit.fenced_log import Epoch

NAME_LENGTH_MAX = 64


def epoch_to_proto(epoch: Epoch) -> pb.Epoch:
    return pb.Epoch(number=epoch.number, node_id=epoch.node_id, incarnation=epoch.incarnation)


def epoch_from_proto(message: pb.Epoch) -> Epoch:
    """Also that of nobody, with number 0."""
    return Epoch(message.number, message.node_id, message.incarnation)


def holder_from_proto(node_id: str, incarnation: str) -> tuple[str, str]:
    """Whoever raises or holds an epoch."""
    if not 1 <= len(node_id) <= NAME_LENGTH_MAX or not 1 <= len(incarnation) <= NAME_LENGTH_MAX:
        raise InvalidArgument(f"node_id and incarnation have from 1 to {NAME_LENGTH_MAX} characters")
    return node_id, incarnation


def order_decision_to_proto(decision: OrderDecision) -> pb.OrderDecision:
    return pb.OrderDecision(
        attempt=attempt_to_proto(decision.attempt),
        position=decision.position,
        commit=decision.commit,
        reasons=[reason_to_proto(reason) for reason in decision.reasons],
        story=decision.story,
    )


def order_decision_from_proto(message: pb.OrderDecision) -> OrderDecision:
    if message.commit == bool(message.reasons) or len(message.reasons) > REASONS_MAX:
        raise InvalidArgument(f"a rejection has from 1 to {REASONS_MAX} reasons, a commit has none")
    return OrderDecision(
        attempt_from_proto(message.attempt),
        message.position,
        message.commit,
        tuple(reason_from_proto(reason) for reason in message.reasons),
        packed_story_from_proto(message.story),
    )


def command_to_proto(command: Command) -> pb.DecisionCommand:
    match command:
        case RecordDecision(decision):
            return pb.DecisionCommand(decision=order_decision_to_proto(decision))
        case RecordFinished(order_id):
            return pb.DecisionCommand(finished_order_id=order_id)
        case PublishFinished(ended_below):
            return pb.DecisionCommand(ended_below=ended_below)


def command_from_proto(message: pb.DecisionCommand) -> Command:
    match message.WhichOneof("kind"):
        case "decision":
            return RecordDecision(order_decision_from_proto(message.decision))
        case "finished_order_id":
            if not ORDER_ID.fullmatch(message.finished_order_id):
                raise InvalidArgument("finished_order_id is not 32 lower-case hexadecimal digits")
            return RecordFinished(message.finished_order_id)
        case "ended_below":
            return PublishFinished(message.ended_below)
        case _:
            raise InvalidArgument("a command is a decision, the id of a finished order or a position")
