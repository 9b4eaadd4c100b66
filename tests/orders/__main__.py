"""Plants bugs on the way of an order, one at a time, and shows which test kills each: python -m tests.orders [NAME]."""

import argparse
import sys

from tests.orders import planted, planted_refunds
from tests.simulation.planting import plant_all


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.orders", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="of one bug; otherwise all are planted")
    kills = plant_all((*planted.BUGS, *planted_refunds.BUGS), parser.parse_args().name)
    return 0 if all(kill.is_killed for kill in kills) else 1


if __name__ == "__main__":
    sys.exit(main())
