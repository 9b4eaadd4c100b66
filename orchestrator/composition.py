"""Puts the orchestrator together: from its configuration to an application whose parts talk over gRPC."""

import contextlib

from flask import Flask

from orchestrator.app import create_app
from orchestrator.checkout import Checkout, Limits
from orchestrator.clients.book_guide import BookGuideClient
from orchestrator.clients.database import BlockingDatabase
from orchestrator.clients.order_queue import OrderQueueClient
from orchestrator.clients.probes import Prober
from orchestrator.clients.stories import StoriesClient
from orchestrator.clients.trio import TrioClient
from orchestrator.config import Config
from orchestrator.deadline import LatestEnd
from orchestrator.discovery import Discovery
from orchestrator.identity import Identities
from orchestrator.ports import Service
from orchestrator.readiness import Readiness
from orchestrator.shelf import Shelf
from orchestrator.verification import Verification
from utils.catalogue import load_catalogue
from utils.rpc.blocking import BlockingRuntime


def compose(config: Config, latest: LatestEnd) -> tuple[Flask, contextlib.ExitStack]:
    """The application, and what closes its parts once no request runs any more."""
    closing = contextlib.ExitStack()
    runtime = BlockingRuntime()
    closing.callback(runtime.close)
    trio = {
        Service.TRANSACTION_VERIFICATION: config.transaction_verification,
        Service.FRAUD_DETECTION: config.fraud_detection,
        Service.SUGGESTIONS: config.suggestions,
    }
    clusters = {"order_queue": config.order_queue, "order_executor": config.order_executor, "database": config.db_nodes}
    trio_client = TrioClient(runtime, trio)
    closing.callback(trio_client.close)
    guide = BookGuideClient(runtime, config.suggestions)
    closing.callback(guide.close)
    queue = OrderQueueClient(runtime, config.order_queue)
    closing.callback(queue.close)
    database = BlockingDatabase(runtime, config.db_nodes)
    closing.callback(database.close)
    # Suggestions call themselves healthy once PostgreSQL has the books.
    prober = Prober(
        runtime, clusters, {**{str(name): address for name, address in trio.items()}, "payment": config.payment_service}
    )
    closing.callback(prober.close)
    shelf = Shelf(database, load_catalogue())
    shelf.start()
    closing.callback(shelf.close)
    verification = Verification(
        trio_client,
        node_id=config.node_id,
        timeout_s=config.verification_timeout_s,
        threads_max=len(Service) * config.http_threads,
    )
    closing.callback(verification.close)
    checkout = Checkout(
        identities=Identities(config.order_id_key),
        prices=shelf,
        verifier=verification,
        queue=queue,
        limits=Limits(
            wait_s=config.checkout_wait_s,
            # The rest is for those who do not wait: new orders, and questions after old ones.
            waiting_max=config.http_threads * 3 // 4,
        ),
        latest=latest,
    )
    stories = StoriesClient(
        runtime,
        order_queue=config.order_queue,
        order_executor=config.order_executor,
        db_nodes=config.db_nodes,
        payment=config.payment_service,
    )
    closing.callback(stories.close)
    readiness = Readiness(prober, {name: len(addresses) for name, addresses in clusters.items()}, shelf.component)
    return create_app(checkout, shelf, Discovery(guide), stories, readiness, cors_origins=config.cors_origins), closing
