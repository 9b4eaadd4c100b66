"""Plays seeds: one to see it fail again, or many; and plants bugs to see them killed.

python -m tests.simulation --seed 7                  one seed, with what happened in it
python -m tests.simulation --planted [NAME]          every planted bug, or one, and which test kills it
python -m tests.simulation --seeds 20000             until so many seeds count, then scenarios and planted bugs
python -m tests.simulation --seeds 200 --new-base    a slice that nobody has played before
"""

import argparse
import json
import secrets
import sys

import structlog

from tests.simulation import campaign, planting
from tests.simulation.planted import PLANTED_BUGS
from tests.simulation.simulation import Simulation


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="the only seed, or the first of many")
    parser.add_argument("--seeds", type=int, default=1, help="how many must count")
    parser.add_argument("--new-base", action="store_true", help="begin at a seed that nobody has played before")
    parser.add_argument("--planted", nargs="?", const="", metavar="NAME", help="only plant bugs: all, or this one")
    arguments = parser.parse_args()
    # The nodes log as in production; only a broken invariant is worth reading here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if arguments.planted is not None:
        kills = planting.plant_all(PLANTED_BUGS, arguments.planted)
        return 0 if all(kill.is_killed for kill in kills) else 1
    if arguments.seeds == 1 and not arguments.new_base:
        print(Simulation(arguments.seed).run())
        return 0
    return _run_all(secrets.randbelow(2**40) if arguments.new_base else arguments.seed, arguments.seeds)


def _run_all(first_seed: int, seeds: int) -> int:
    print(f"base seed {first_seed}", flush=True)
    findings = campaign.run(first_seed, seeds)
    for what, count in sorted(findings.totals.items()):
        print(f"{count:10d} {what}")
    print(f"{findings}; {findings.played} seeds played, {findings.cpu_s / findings.played:.3f} s of CPU each")
    scenarios = planting.run_scenarios()
    kills = planting.plant_all(PLANTED_BUGS)
    result = {
        "seeds": findings.counted,
        "simulated_hours": round(findings.simulated_s / 3600, 2),
        "violations": len(findings.failures),
        "scenarios": scenarios.passed,
        "planted_bugs": len(kills),
        "killed": sum(kill.is_killed for kill in kills),
    }
    print(json.dumps(result), flush=True)
    is_well = not findings.failures and findings.counted >= seeds and not scenarios.failed
    return 0 if is_well and all(kill.is_killed for kill in kills) else 1


if __name__ == "__main__":
    sys.exit(main())
