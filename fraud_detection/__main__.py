"""Fraud detection, events D and E: `python -m fraud_detection`."""

import asyncio
import secrets
import time

from fraud_detection.config import Config
from fraud_detection.detector import Detector
from fraud_detection.fingerprint import Fingerprints
from fraud_detection.servicer import FraudDetectionServicer
from utils.config import from_environment
from utils.generative_ai.client import open_generative_ai
from utils.observe.logging import configure_logging
from utils.pb.fraud_detection_pb2_grpc import add_FraudDetectionServiceServicer_to_server
from utils.rpc.server import RpcServer
from utils.rpc.service import run_service
from utils.verification.events import FRAUD_DETECTION
from utils.verification.verification import Verification


async def main(stopping: asyncio.Event) -> None:
    """Serves until `stopping`."""
    config = from_environment(Config)
    configure_logging(FRAUD_DETECTION, config.node_id)
    server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
    verification = Verification(FRAUD_DETECTION)
    verification.add_to(server)
    fingerprints = Fingerprints(config.fraud_key or secrets.token_hex(32))
    ai = open_generative_ai(config)
    servicer = FraudDetectionServicer(verification, config, Detector(config, fingerprints), time.monotonic, ai)
    add_FraudDetectionServiceServicer_to_server(servicer, server)  # type: ignore[arg-type]
    await server.start()
    await server.set_serving(True)
    # In the background: orders are served meanwhile.
    loading = asyncio.create_task(ai.load()) if ai is not None else None
    await stopping.wait()
    await server.stop()
    await verification.close()
    if ai is not None and loading is not None:
        await loading
        await ai.close()


if __name__ == "__main__":
    run_service(main)
