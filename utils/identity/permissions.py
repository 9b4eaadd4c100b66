"""Who may call what. Whatever is not in this table is refused, whoever calls.

Callers are services (the first part of an identity). `SAME` is the service of the process that is called: nodes of one
cluster among themselves, and a process's own health check.
"""

from collections.abc import Mapping
from typing import Final

from utils.identity.spiffe import Identity

ORCHESTRATOR: Final = "orchestrator"
TRANSACTION_VERIFICATION: Final = "transaction_verification"
FRAUD_DETECTION: Final = "fraud_detection"
SUGGESTIONS: Final = "suggestions"
ORDER_QUEUE: Final = "order_queue"
ORDER_EXECUTOR: Final = "order_executor"
DB_NODE: Final = "db_node"
PAYMENT: Final = "payment"
# People, with `python -m bookstore`.
OPERATOR: Final = "operator"
SERVICES: Final = (
    ORCHESTRATOR, TRANSACTION_VERIFICATION, FRAUD_DETECTION, SUGGESTIONS, ORDER_QUEUE, ORDER_EXECUTOR, DB_NODE, PAYMENT,
    OPERATOR,
)  # fmt: skip
SAME: Final = "the same service"

_TRIO = (TRANSACTION_VERIFICATION, FRAUD_DETECTION, SUGGESTIONS)

# gRPC service -> method -> callers.
TABLE: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    # An order is verified.
    "bookstore.v1.TransactionVerificationService": {"VerifyTransaction": (ORCHESTRATOR,)},
    "bookstore.v1.FraudDetectionService": {"DetectFraud": (ORCHESTRATOR,)},
    "bookstore.v1.SuggestionsService": {"SuggestBooks": (ORCHESTRATOR,)},
    "bookstore.v1.VerificationPeer": {
        "Notify": _TRIO,
        "Stop": (ORCHESTRATOR,),
        "Forget": (ORCHESTRATOR,),
    },
    "bookstore.v1.DiscoveryService": {"RecommendBooks": (ORCHESTRATOR,), "SearchBooks": (ORCHESTRATOR,)},
    # It waits, and is executed.
    "bookstore.v1.OrderQueueService": {
        "Enqueue": (ORCHESTRATOR,),
        "RecordRejection": (ORCHESTRATOR,),
        "GetOrder": (ORCHESTRATOR, OPERATOR),
        "Dequeue": (ORDER_EXECUTOR,),
        "Complete": (ORDER_EXECUTOR,),
        "GetQueueStats": (OPERATOR,),
    },
    "bookstore.v1.RefundService": {
        "RequestRefund": (OPERATOR,),
        "PollRefunds": (ORDER_EXECUTOR,),
        "CompleteRefund": (ORDER_EXECUTOR,),
    },
    "bookstore.v1.ParticipantService": {
        "Prepare": (ORDER_EXECUTOR,),
        "Decide": (ORDER_EXECUTOR,),
        "Compensate": (ORDER_EXECUTOR,),
    },
    # Participants in doubt.
    "bookstore.v1.CoordinatorService": {"Resolve": (DB_NODE, PAYMENT)},
    "bookstore.v1.OrderExecutorService": {"GetExecutorStatus": (ORCHESTRATOR, OPERATOR)},
    "bookstore.v1.PaymentService": {"GetPayment": (OPERATOR,), "ListCaptures": (OPERATOR,)},
    "bookstore.v1.DatabaseService": {
        "Read": (ORCHESTRATOR, OPERATOR),
        "ReadAll": (ORCHESTRATOR, SUGGESTIONS, OPERATOR),
        "GetDatabaseStatus": (SAME, OPERATOR),
        "Write": (OPERATOR,),
        "DecrementStock": (OPERATOR,),
    },
    "bookstore.v1.StoryService": {"GetStory": (ORCHESTRATOR,)},
    # Consensus. The sender of a message is the node of the certificate: utils/raft/io/servicer.py, and Bully's.
    "bookstore.v1.raft.RaftService": {
        "Deliver": (SAME,),
        "GetRaftStatus": (ORCHESTRATOR, OPERATOR),
    },
    "bookstore.v1.raft.RaftAdminService": {
        "Join": (SAME,),
        "DescribeCluster": (OPERATOR,),
        "AddNode": (OPERATOR,),
        "RemoveNode": (OPERATOR,),
        "TransferLeadership": (OPERATOR,),
        "TakeSnapshot": (OPERATOR,),
    },
    "bookstore.v1.BullyService": {"Tell": (SAME,)},
    "bookstore.v1.DecisionLogService": {
        "GetEpoch": (ORDER_EXECUTOR,),
        "RaiseEpoch": (ORDER_EXECUTOR,),
        "RecordDecisions": (ORDER_EXECUTOR,),
        "ReadDecisions": (ORDER_EXECUTOR,),
    },
    # What every process serves. Each call on a multiplexed stream is checked by itself.
    "bookstore.v1.MultiplexService": {"Exchange": SERVICES},
    "bookstore.v1.IntrospectionService": {"GetCounters": (OPERATOR,)},
    "grpc.health.v1.Health": {
        "Check": (SAME, ORCHESTRATOR, OPERATOR),
        "Watch": (OPERATOR,),
        "List": (OPERATOR,),
    },
}


def may_call(caller: Identity, callee: Identity, method: str) -> bool:
    """`method` as gRPC writes it: /package.Service/Method."""
    _, _, rest = method.partition("/")
    service, _, name = rest.partition("/")
    callers = TABLE.get(service, {}).get(name, ())
    return caller.service in callers or (SAME in callers and caller.service == callee.service)
