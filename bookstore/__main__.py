"""The bookstore as local processes: python -m bookstore up | down | status | reset | db | cluster | orders."""

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path

import psutil
from rich.console import Console

from bookstore import cluster, database, orders, state, up
from bookstore.memory import memory_by_process
from bookstore.table import process_table

DATA_DIRECTORY = Path(".data")
STOP_TIMEOUT_S = 40


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bookstore", description=__doc__)
    parser.add_argument(
        "--data-dir", type=Path, default=DATA_DIRECTORY, help="where data and logs are (default: .data)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    up_parser = commands.add_parser("up", help="start everything, show progress, stop it on Ctrl-C")
    up_parser.add_argument(
        "--free-ports", action="store_true", help="use any free ports instead of 8080, 8081 and 15xxx"
    )
    up_parser.add_argument(
        "--process-settings",
        type=Path,
        help="a JSON file: by process, an object of environment variables that only this process gets",
    )
    commands.add_parser("down", help="stop the bookstore that runs")
    commands.add_parser("status", help="show every process, its health and its memory (PSS)")
    commands.add_parser("reset", help="stop the bookstore and delete its data")
    database.add_parser(commands)
    cluster.add_parser(commands)
    orders.add_parser(commands)
    arguments = parser.parse_args()
    data_directory = arguments.data_dir.resolve()
    match arguments.command:
        case "up":
            up.main(data_directory, on_free_ports=arguments.free_ports, settings_file=arguments.process_settings)
        case "down":
            _down(data_directory)
        case "status":
            _status(data_directory)
        case "db":
            database.run(data_directory, arguments)
        case "cluster":
            cluster.run(data_directory, arguments)
        case "orders":
            orders.run(data_directory, arguments)
        case "reset":
            _down(data_directory)
            shutil.rmtree(data_directory, ignore_errors=True)
            print(f"Deleted {data_directory}.")


def _down(data_directory: Path) -> None:
    system = state.read_state(data_directory)
    if system is None:
        print("No bookstore runs.")
        return
    supervisor = psutil.Process(system.pid)
    os.kill(system.pid, signal.SIGTERM)
    try:
        supervisor.wait(STOP_TIMEOUT_S)
    except psutil.TimeoutExpired:
        sys.exit(f"the bookstore (pid {system.pid}) has not stopped within {STOP_TIMEOUT_S} s")
    print("Stopped.")


def _status(data_directory: Path) -> None:
    system = state.read_state(data_directory)
    if system is None:
        sys.exit("No bookstore runs: `make up` starts one.")
    Console().print(process_table(system, memory_by_process(system)))


if __name__ == "__main__":
    main()
