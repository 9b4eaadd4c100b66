"""Runs suggestions: `python -m suggestions`."""

import asyncio
from functools import partial

from suggestions.book_store import BookStore
from suggestions.chooser import Chooser
from suggestions.config import Config
from suggestions.discovery_servicer import DiscoveryServicer
from suggestions.encoder import open_encoder
from suggestions.indexer import Indexer
from suggestions.query_encoder import QueryEncoder
from suggestions.recommender import Recommender
from suggestions.searcher import Searcher
from suggestions.servicer import SuggestionsServicer
from suggestions.stock import Stock
from utils.catalogue import load_catalogue
from utils.config import from_environment
from utils.db_client.client import DatabaseClient
from utils.generative_ai.client import open_generative_ai
from utils.observe.logging import configure_logging
from utils.pb import suggestions_pb2_grpc
from utils.rpc.server import RpcServer
from utils.rpc.service import run_service
from utils.verification.events import SUGGESTIONS
from utils.verification.verification import Verification

# Its own entry in the health service: orders need no encoder.
SEMANTIC_SEARCH = "semantic-search"


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(Config)
    configure_logging("suggestions", config.node_id)
    catalogue = load_catalogue()
    store = BookStore(config.database_url)
    database = DatabaseClient(config.db_nodes)
    stock = Stock(database)
    encoder = QueryEncoder(partial(open_encoder, config.embedder))
    ai = open_generative_ai(config)
    recommender = Recommender(store, catalogue, stock.sold_out, Chooser(ai) if ai is not None else None)
    verification = Verification(SUGGESTIONS)
    server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
    verification.add_to(server)
    searcher = Searcher(store, encoder, partial(server.set_serving, part=SEMANTIC_SEARCH))
    suggestions_pb2_grpc.add_SuggestionsServiceServicer_to_server(
        SuggestionsServicer(verification, recommender),
        server,  # type: ignore[arg-type]
    )
    suggestions_pb2_grpc.add_DiscoveryServiceServicer_to_server(
        DiscoveryServicer(recommender, searcher),
        server,  # type: ignore[arg-type]
    )

    async def on_vectors(complete: bool) -> None:
        recommender.forget_answers()
        await searcher.set_vectors(complete)

    # Healthy means that PostgreSQL has the books; orders get suggestions without it too, from the catalogue.
    indexer = Indexer(store, catalogue, encoder.load, on_books=server.set_serving, on_vectors=on_vectors)
    tasks = []
    loading = None
    try:
        await server.start()
        await searcher.set_vectors(False)
        await store.open()
        # In the background: orders are served meanwhile.
        loading = asyncio.create_task(ai.load()) if ai is not None else None
        tasks = [asyncio.create_task(part) for part in (stopping.wait(), indexer.run(), stock.run())]
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
        await database.close()
        encoder.close()
        if ai is not None and loading is not None:
            await loading
            await ai.close()


if __name__ == "__main__":
    run_service(main)
