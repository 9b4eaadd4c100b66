"""Runs payment: `python -m payment`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from payment.config import Config
from payment.durable_ledger import DurableLedger
from payment.journal import Journal
from payment.ledger import Ledger, Luck
from payment.servicer import PaymentServicer
from utils.config import from_environment
from utils.observe.logging import configure_logging
from utils.pb import payment_pb2_grpc, story_pb2_grpc, two_phase_commit_pb2_grpc
from utils.rpc.cluster import ClusterChannel
from utils.rpc.server import RpcServer
from utils.rpc.service import run_service
from utils.two_phase_commit.io.inquiry import RESOLVE_TIMEOUT_S, InDoubtInquiry
from utils.two_phase_commit.io.participant_servicer import ParticipantServicer, log_outcomes
from utils.two_phase_commit.io.participant_story import ParticipantStoryServicer
from utils.two_phase_commit.messages import Decision


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(Config)
    configure_logging("payment", config.node_id)
    journal = Journal(Path(config.data_dir) / "payment.sqlite")
    luck = Luck(config.seed, config.card_success_rate, config.bank_success_rate)
    ledger = DurableLedger(Ledger(luck), journal)

    async def carry_out(decisions: Sequence[Decision]) -> None:
        log_outcomes(decisions, await ledger.decide(decisions, timeout_s=RESOLVE_TIMEOUT_S))

    executors = ClusterChannel(config.order_executor)
    inquiry = InDoubtInquiry(
        executors, in_doubt=lambda: ledger.in_doubt, decide=carry_out, in_doubt_s=config.in_doubt_s
    )
    server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
    two_phase_commit_pb2_grpc.add_ParticipantServiceServicer_to_server(ParticipantServicer(ledger), server)  # type: ignore[arg-type]
    payment_pb2_grpc.add_PaymentServiceServicer_to_server(PaymentServicer(ledger), server)  # type: ignore[arg-type]
    story_pb2_grpc.add_StoryServiceServicer_to_server(ParticipantStoryServicer(ledger.story), server)  # type: ignore[arg-type]

    tasks = [asyncio.create_task(part) for part in (stopping.wait(), ledger.run(), inquiry.run())]
    try:
        await server.start()
        await server.set_serving(True)
        # A failing disk or a broken rule ends the process before it says anything that is not durable.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await server.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await executors.close()
        journal.close()


if __name__ == "__main__":
    run_service(main)
