"""One node of the queue, put together: machine, consensus, service, recorder. `__main__` runs it as a process."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from order_queue.claims import Claims
from order_queue.commands import Bounds
from order_queue.config import QueueConfig
from order_queue.order_heap import OrderHeap
from order_queue.queue_machine import QueueMachine
from order_queue.record_store import RecordStore
from order_queue.recorder import Recorder
from order_queue.refund_servicer import RefundServicer
from order_queue.servicer import OrderQueueServicer
from order_queue.story import StoryServicer
from order_queue.wakeups import Wakeups, WakingMachine
from utils.engines import claim, consensus_node
from utils.observe.logging import get_logger
from utils.pb.order_queue_pb2_grpc import add_OrderQueueServiceServicer_to_server
from utils.pb.refund_pb2_grpc import add_RefundServiceServicer_to_server
from utils.pb.story_pb2_grpc import add_StoryServiceServicer_to_server
from utils.rpc.server import RpcServer

log = get_logger()

_CANCEL_AGAIN_AFTER_S = 1.0
_WAY_OUT = "nothing moves the orders there; once all have ended and are in PostgreSQL, stop the queue's nodes"


class QueueNode:
    """Serves from `start` to `stop`."""

    def __init__(self, config: QueueConfig) -> None:
        self.machine = QueueMachine(OrderHeap(threading.Lock(), ageing=config.ageing))
        self.claims = Claims()
        self.wakeups = Wakeups()
        claim(Path(config.data_dir), "engine", "QUEUE", config.engine, _WAY_OUT)
        self.consensus = consensus_node(config.engine, config, WakingMachine(self.machine, self.wakeups))
        self._config = config
        self._server = RpcServer(f"{config.bind_host}:{config.port}", node_id=config.node_id)
        self.consensus.add_to(self._server)
        bounds = Bounds(config.pending_max, config.unrecorded_max)
        self._archive = RecordStore(config.database_url) if config.database_url else None
        servicer = OrderQueueServicer(
            self.consensus, self.machine, self.claims, self.wakeups, bounds=bounds, archive=self._archive
        )
        add_OrderQueueServiceServicer_to_server(servicer, self._server)  # type: ignore[arg-type]
        stories = StoryServicer(self.consensus, self.machine, self.claims, servicer.archived)
        add_StoryServiceServicer_to_server(stories, self._server)  # type: ignore[arg-type]
        refunds = RefundServicer(self.consensus, self.machine, self.wakeups, bounds=bounds, archived=servicer.archived)
        add_RefundServiceServicer_to_server(refunds, self._server)  # type: ignore[arg-type]
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Raises LogDamagedError, and RuntimeError for a port in use. Later failures end `failed`."""
        await self.consensus.start()
        await self._server.start()
        self._run(self._follow_leadership())
        if self._config.database_url:
            self._run(
                Recorder(
                    self.consensus,
                    self.machine,
                    self.wakeups,
                    RecordStore(self._config.database_url),
                    interval_s=self._config.record_interval_ms / 1_000,
                    backoff_s_max=self._config.record_backoff_ms_max / 1_000,
                    keys_remembered_s=self._config.keys_remembered_s,
                ).run()
            )
        else:
            log.warning("DATABASE_URL is not set: order records are not written to PostgreSQL")

    async def stop(self) -> None:
        """Ends what is in progress: proposals with an unknown outcome, waits with a redirect."""
        await self._server.set_serving(False)
        await self._end_tasks()
        await self.consensus.stop()
        # Whoever waits here is sent to another node, and need not wait for the server's end.
        self.claims.forget()
        self.wakeups.wake_all()
        await self._server.stop()
        if self._archive is not None:
            await self._archive.close()

    async def _follow_leadership(self) -> None:
        """Healthy while a leader is known. With any change whoever waits looks again, and a deposed leader forgets."""
        seen: tuple[int, str | None, bool] | None = None
        while True:
            status = self.consensus.status
            now = (status.term, status.leader_id, status.ready)
            if now == seen:
                await self.consensus.changed()
                continue
            seen = now
            if not status.ready:
                self.claims.forget()
            self.wakeups.wake_all()
            await self._server.set_serving(status.leader_id is not None)

    async def _end_tasks(self) -> None:
        waiting = set(self._tasks)
        while waiting:
            for task in waiting:
                task.cancel()
            # psycopg takes 10 s to cancel a query of a PostgreSQL that hangs, unless it is told twice.
            _, waiting = await asyncio.wait(waiting, timeout=_CANCEL_AGAIN_AFTER_S)

    def _run(self, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(part)
        task.add_done_callback(self._on_end)
        self._tasks.append(task)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self.failed.done():
            self.failed.set_exception(error)
