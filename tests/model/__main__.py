"""Explores the order protocol: python -m tests.model, --without RULE, --list."""

import argparse
import sys
import time

from tests.model.rules import RULES, Rule
from tests.model.scenarios import MISSED, SCENARIOS, SHORT, explore, explore_without


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help=f"of {', '.join(SCENARIOS)}; or all; otherwise the short ones")
    parser.add_argument("--list", action="store_true", help="the rules that can be taken away")
    parser.add_argument("--without", type=Rule, metavar="RULE", help="print what breaks without this rule")
    parser.add_argument("--model-only", action="store_true", help="without the project's code beside the model")
    arguments = parser.parse_args()
    if arguments.list:
        for rule, sentence in RULES.items():
            print(f"{rule:30} {sentence}")
        return 0
    if arguments.without is not None:
        return _print_without(arguments.without)
    names = list(SCENARIOS) if arguments.scenarios == ["all"] else arguments.scenarios
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        parser.error(f"there is no scenario {unknown[0]}")
    return max(_explore(name, with_code=not arguments.model_only) for name in names or [it.name for it in SHORT])


def _print_without(rule: Rule) -> int:
    missed = MISSED[rule]
    print(f"Without: {RULES[rule]}")
    for other in sorted(missed.also):
        print(f"     and: {RULES[other]}")
    print(f"Scenario {missed.scenario.name}:")
    explored = explore_without(rule)
    print(explored.counter_example or f"Nothing breaks in {explored.states:,} states.")
    return 0 if explored.counter_example is not None else 1


def _explore(name: str, *, with_code: bool) -> int:
    started = time.monotonic()
    explored = explore(SCENARIOS[name], with_code=with_code)
    elapsed_s = time.monotonic() - started
    verdict = "holds" if explored.counter_example is None else "BREAKS"
    extent = "all" if explored.is_complete else f"every trace of up to {explored.depth} steps,"
    print(f"{name:20} {verdict}: {extent} {explored.states:,} states, {elapsed_s:.0f} s", flush=True)
    if explored.counter_example is not None:
        print(explored.counter_example)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
