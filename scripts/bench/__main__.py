"""How fast Tidemark is, against what it could be. Run by `just bench`; writes one JSON file of results, and docs/BENCHMARKS.md from it."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time

import report
from rows import ALL

QUESTIONS = "questions"
QUESTIONS_HEADING = "\n## Questions\n"
BY_HAND_HEADING = "\n## What the questions tell\n"


def main():
    parser = argparse.ArgumentParser(prog="just bench", description=__doc__)
    parser.add_argument("binaries", help="the folder of the binaries to measure")
    parser.add_argument("--only", action="append", choices=[*ALL, QUESTIONS], help="measure only this; may be repeated, and keeps what was measured before under the same conditions")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="length of one measurement; ramps and bulk take a multiple")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--variety", type=int, default=1_000_000, help="different events of bulk loads")
    parser.add_argument("--events", type=int, default=20_000_000, help="of the month that is asked for")
    parser.add_argument("--lake", help="a table with that month that is there already; nothing is loaded")
    parser.add_argument("--results", default=".run/bench.json", help="where the results go, and whence those of earlier runs come")
    parser.add_argument("--page", default="docs/BENCHMARKS.md")
    options = parser.parse_args()
    results = earlier(options) if options.only else {"measured": {}}
    for name in options.only or [*ALL, QUESTIONS]:
        print(f"{time.strftime('%T')} {name}", file=sys.stderr, flush=True)
        if name == QUESTIONS:
            results[QUESTIONS] = asked(options)
        else:
            results["measured"][name] = measured(options, name)
        results |= about(options)
        write(options, results)


def measured(options, name):
    rows = [row.as_json() for row in ALL[name](options)]
    for row in rows:
        print(report.line(row), flush=True)
    return rows


def asked(options):
    """What the questions print, which have a Python of their own, with the others in it."""
    command = [".tools/bench/bin/python", "-B", f"{os.path.dirname(__file__)}/questions.py", options.binaries,
               "--rounds", str(options.rounds), "--events", str(options.events), *(["--lake", options.lake] if options.lake else [])]
    said = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        for line in asking.stdout:
            print(line, end="", flush=True)
            said += line
    if asking.returncode:
        raise SystemExit("the questions have failed, so there is no result")
    return said


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
    return {
        "machine": report.machine(),
        "versions": report.versions(options.binaries),
        "commit": report.commit(),
        "command": f"just bench --rounds {options.rounds} --seconds {options.seconds} --variety {options.variety}",
        "date": time.strftime("%F", time.gmtime()),
        "rounds": options.rounds,
        "seconds": options.seconds,
    }


def write(options, results):
    """After each measurement, so that an interrupted run is not lost. What was not measured stays on the page, and what is kept by hand."""
    rows = [row for name in ALL for row in results["measured"].get(name, [])]
    os.makedirs(os.path.dirname(options.results) or ".", exist_ok=True)
    with open(options.results, "w") as file:
        json.dump(results, file, indent=1)
    page = ""
    with contextlib.suppress(FileNotFoundError), open(options.page) as file:
        page = file.read()
    rest, by_hand_heading, by_hand = page.partition(BY_HAND_HEADING)
    table, questions_heading, questions = rest.partition(QUESTIONS_HEADING)
    if rows:
        table = report.markdown(results | {"rows": rows})
    if QUESTIONS in results:
        questions_heading, questions = QUESTIONS_HEADING, f"\n{results[QUESTIONS]}"
    with open(options.page, "w") as file:
        file.write(table + questions_heading + questions + by_hand_heading + by_hand)


if __name__ == "__main__":
    main()
