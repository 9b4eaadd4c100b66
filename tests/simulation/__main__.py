"""Plays one seed, or many: python -m tests.simulation --seed 7, or --seeds 1000."""

import argparse
import sys

from tests.simulation.simulation import Simulation, SimulationFailed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from the first one on")
    arguments = parser.parse_args()
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        try:
            report = Simulation(seed).run()
        except SimulationFailed as error:
            failed += 1
            if arguments.seeds == 1:
                raise
            print(error, file=sys.stderr)
        else:
            print(report if report.counts else f"{report} proves nothing: too little happened")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
