"""How fast Tidemark is, against what it could be. Run by `just bench`; writes one JSON file of results, and docs/BENCHMARKS.md from it."""

import argparse
import contextlib
import json
import os
import sys
import time

import report
from rows import ALL


def main():
    parser = argparse.ArgumentParser(prog="just bench", description=__doc__)
    parser.add_argument("binaries", help="the folder of the binaries to measure")
    parser.add_argument("--only", action="append", choices=ALL, help="measure only this; may be repeated, and keeps what was measured before under the same conditions")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="length of one measurement; ramps and bulk take a multiple")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--variety", type=int, default=1_000_000, help="different events of bulk loads")
    parser.add_argument("--results", default=".run/bench.json", help="where the results go, and whence those of earlier runs come")
    parser.add_argument("--page", default="docs/BENCHMARKS.md")
    options = parser.parse_args()
    results = earlier(options) if options.only else {"measured": {}}
    for name in options.only or ALL:
        print(f"{time.strftime('%T')} {name}", file=sys.stderr, flush=True)
        results["measured"][name] = [row.as_json() for row in ALL[name](options)]
        for row in results["measured"][name]:
            print(report.line(row), flush=True)
        results |= about(options)
        write(options, results)


def earlier(options):
    """The results of an earlier run, unless its conditions were others."""
    try:
        with open(options.results) as file:
            results = json.load(file)
    except FileNotFoundError:
        return {"measured": {}}
    now = about(options)
    is_same = all(results.get(condition) == now[condition] for condition in now if condition != "date")
    return results if is_same else {"measured": {}}


def about(options):
    measured = f"just bench --rounds {options.rounds} --seconds {options.seconds} --variety {options.variety}"
    return {
        "machine": report.machine(),
        "versions": report.versions(options.binaries),
        "commit": report.commit(),
        "command": measured,
        "date": time.strftime("%F", time.gmtime()),
        "rounds": options.rounds,
        "seconds": options.seconds,
    }


QUESTIONS = "\n## Questions\n"


def write(options, results):
    """After each measurement, so that an interrupted run is not lost."""
    rows = [row for name in ALL for row in results["measured"].get(name, [])]
    os.makedirs(os.path.dirname(options.results) or ".", exist_ok=True)
    with open(options.results, "w") as file:
        json.dump(results, file, indent=1)
    questions = kept(options.page)
    with open(options.page, "w") as file:
        file.write(report.markdown(results | {"rows": rows}) + questions)


def kept(page):
    """What is kept by hand stays on the page."""
    with contextlib.suppress(FileNotFoundError), open(page) as file:
        _, heading, rest = file.read().partition(QUESTIONS)
        return heading + rest
    return ""


if __name__ == "__main__":
    main()
