"""The error table: one exception for each way in which a call can fail, with its gRPC status and its HTTP status.

Servicers raise these; `utils.rpc` alone turns them into a google.rpc.Status with an ErrorInfo (AIP-193) and back, so
that the caller catches what the callee raised. The orchestrator answers REST with `http_status` and `code`.
"""

from typing import ClassVar

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

DOMAIN = "bookstore"
_MESSAGE_LENGTH_MAX = 1_000


class ServiceError(Exception):
    """Any failure of a call. `metadata` is for programs, the message for people; neither holds card data."""

    grpc_code: ClassVar[int] = code_pb2.INTERNAL
    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class InvalidArgument(ServiceError):
    grpc_code = code_pb2.INVALID_ARGUMENT
    http_status = 400
    code = "invalid_argument"


class Unauthenticated(ServiceError):
    grpc_code = code_pb2.UNAUTHENTICATED
    http_status = 401
    code = "unauthenticated"


class PermissionDenied(ServiceError):
    grpc_code = code_pb2.PERMISSION_DENIED
    http_status = 403
    code = "permission_denied"


class NotFound(ServiceError):
    grpc_code = code_pb2.NOT_FOUND
    http_status = 404
    code = "not_found"


class AlreadyExists(ServiceError):
    grpc_code = code_pb2.ALREADY_EXISTS
    http_status = 409
    code = "already_exists"


class FailedPrecondition(ServiceError):
    """The state of the business does not allow it; trying again changes nothing."""

    grpc_code = code_pb2.FAILED_PRECONDITION
    http_status = 409
    code = "failed_precondition"


class ResourceExhausted(ServiceError):
    """A bound is reached; later it may work."""

    grpc_code = code_pb2.RESOURCE_EXHAUSTED
    http_status = 503
    code = "resource_exhausted"


class Unavailable(ServiceError):
    """The callee could not be reached, or cannot answer now. Whether it has acted is not known."""

    grpc_code = code_pb2.UNAVAILABLE
    http_status = 503
    code = "unavailable"


class NotLeader(Unavailable):
    """The callee does not lead its cluster and did nothing; `leader_address` says who does, if that is known."""

    def __init__(self, message: str, *, leader_id: str = "", leader_address: str = "") -> None:
        super().__init__(message, leader_id=leader_id, leader_address=leader_address)
        self.leader_id = leader_id
        self.leader_address = leader_address


class DeadlineExceeded(ServiceError):
    grpc_code = code_pb2.DEADLINE_EXCEEDED
    http_status = 504
    code = "deadline_exceeded"


class Unimplemented(ServiceError):
    grpc_code = code_pb2.UNIMPLEMENTED
    http_status = 501
    code = "unimplemented"


class Internal(ServiceError):
    """A defect of the callee. Its log says more than it tells a caller."""


_NOT_LEADER = "NOT_LEADER"
_BY_CODE: dict[int, type[ServiceError]] = {
    error.grpc_code: error
    for error in (
        InvalidArgument, Unauthenticated, PermissionDenied, NotFound, AlreadyExists, FailedPrecondition,
        ResourceExhausted, Unavailable, DeadlineExceeded, Unimplemented, Internal,
    )
}  # fmt: skip


def to_status(error: ServiceError) -> status_pb2.Status:
    """The wire form of an error."""
    reason = _NOT_LEADER if isinstance(error, NotLeader) else error.code.upper()
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=error.metadata))
    return status_pb2.Status(code=error.grpc_code, message=error.message[:_MESSAGE_LENGTH_MAX], details=[detail])


def from_status(status: status_pb2.Status) -> ServiceError:
    """The error that the callee raised; an unknown code is Internal."""
    metadata: dict[str, str] = {}
    reason = ""
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            metadata, reason = dict(info.metadata), info.reason
    if reason == _NOT_LEADER:
        return NotLeader(
            status.message,
            leader_id=metadata.get("leader_id", ""),
            leader_address=metadata.get("leader_address", ""),
        )
    error = _BY_CODE.get(status.code, Internal)(status.message)
    error.metadata = metadata
    return error
