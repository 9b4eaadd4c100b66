"""Load for a bookstore that runs: python -m benchmarks.load HOST:PORT [--clients N]

Each line tells what the clients saw in the seconds before it. What sells out is rejected, and counts as answered.
"""

import argparse
import json

from benchmarks.drive import drive

SECONDS = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("address", metavar="HOST:PORT", help="of the orchestrator")
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    while True:
        summary = drive(int(port), arguments.clients, SECONDS, host).summary()
        del summary["verification_p50_ms"]
        print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    main()
