"""Runs suggestions: `python -m suggestions`."""

import asyncio
from functools import partial

from suggestions.book_store import BookStore
from suggestions.chooser import Chooser
from suggestions.config import Config
from suggestions.encoder import open_encoder
from suggestions.indexer import Indexer
from suggestions.recommender import Recommender
from suggestions.servicer import SuggestionsServicer
from utils.catalogue import load_catalogue
from utils.config import from_environment
from utils.generative_ai.client import open_generative_ai
from utils.observe.logging import configure_logging
from utils.pb import suggestions_pb2_grpc
from utils.rpc.server import RpcServer
from utils.rpc.service import run_service
from utils.verification.events import SUGGESTIONS
from utils.verification.verification import Verification


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(Config)
    configure_logging("suggestions", config.node_id)
    catalogue = load_catalogue()
    store = BookStore(config.database_url)
    ai = open_generative_ai(config)
    recommender = Recommender(store, catalogue, Chooser(ai) if ai is not None else None)
    verification = Verification(SUGGESTIONS)
    server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
    verification.add_to(server)
    suggestions_pb2_grpc.add_SuggestionsServiceServicer_to_server(
        SuggestionsServicer(verification, recommender),
        server,  # type: ignore[arg-type]
    )
    # Healthy means that PostgreSQL has the books; orders get suggestions without it too, from the catalogue.
    indexer = Indexer(
        store,
        catalogue,
        partial(open_encoder, config.embedder),
        on_books=server.set_serving,
        on_vectors=recommender.forget_answers,
    )
    tasks = []
    loading = None
    try:
        await server.start()
        await store.open()
        # In the background: orders are served meanwhile.
        loading = asyncio.create_task(ai.load()) if ai is not None else None
        tasks = [asyncio.create_task(part) for part in (stopping.wait(), indexer.run())]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await server.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await verification.close()
        await store.close()
        if ai is not None and loading is not None:
            await loading
            await ai.close()


if __name__ == "__main__":
    run_service(main)
