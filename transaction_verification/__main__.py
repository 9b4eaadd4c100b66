"""Transaction verification, events A, B and C: `python -m transaction_verification`."""

import asyncio
from datetime import UTC, date, datetime

from transaction_verification.config import Config
from transaction_verification.servicer import TransactionVerificationServicer
from utils.config import from_environment
from utils.observe.logging import configure_logging
from utils.pb.transaction_verification_pb2_grpc import add_TransactionVerificationServiceServicer_to_server
from utils.rpc.server import RpcServer
from utils.rpc.service import run_service
from utils.verification.events import TRANSACTION_VERIFICATION
from utils.verification.verification import Verification


def _today() -> date:
    return datetime.now(UTC).date()


async def main(stopping: asyncio.Event) -> None:
    """Serves until `stopping`."""
    config = from_environment(Config)
    configure_logging(TRANSACTION_VERIFICATION, config.node_id)
    server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
    verification = Verification(TRANSACTION_VERIFICATION)
    verification.add_to(server)
    servicer = TransactionVerificationServicer(verification, _today)
    add_TransactionVerificationServiceServicer_to_server(servicer, server)  # type: ignore[arg-type]
    await server.start()
    await server.set_serving(True)
    await stopping.wait()
    await server.stop()
    await verification.close()


if __name__ == "__main__":
    run_service(main)
