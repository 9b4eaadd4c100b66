"""What runs inside the server's worker process."""

import multiprocessing
import os
import threading

from flask import Flask

from orchestrator.composition import compose
from orchestrator.config import Config
from utils.config import from_environment
from utils.observe.logging import configure_logging


def create() -> Flask:
    """Called once by the server, in the worker."""
    config = from_environment(Config)
    configure_logging("orchestrator", config.node_id)
    parent = multiprocessing.parent_process()
    assert parent is not None, "the server makes its worker with multiprocessing"
    threading.Thread(target=_die_with, args=(parent,), name="parent watch", daemon=True).start()
    app, _closing = compose(config)
    return app


def _die_with(parent: "multiprocessing.process.BaseProcess") -> None:
    """A server killed with -9 must not leave a worker behind that still serves the port."""
    parent.join()
    os._exit(1)
