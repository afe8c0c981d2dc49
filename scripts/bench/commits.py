"""What many small commits cost those who ask. Run by `just bench-commits`; prints Markdown.

A million events are committed in large files. Then small commits come with maintenance on, at most fifty in a second: a hundred times as many
as with the default settings, so maintenance looks once a second and what was replaced stays for a minute. At some numbers of commits nothing
is sent until everything is committed, and then is measured what a query process needs from its start to its first answer, what questions
take in the one that has run since the beginning, and how much memory both have.
"""

import argparse
import json
import statistics
import time

import report
from loads import load
from processes import Stack, free_port, get, memory_bytes, until

POINTS = [0, 100, 1_000, 5_000, 10_000]
RATE = 50
ROWS = 10
QUESTIONS = {
    "SQL": "/sql?format=json&q=SELECT%20channel,%20count(*),%20count(DISTINCT%20user_id)%20FROM%20events%20GROUP%20BY%20channel",
    "metrics": "/metrics?group_by=hour,channel&from=0&to=4000000000",
}
# Seconds until everything is committed, on a machine that does other things too.
PATIENCE = 900
TURNS = 20
STARTS = 5
COLUMNS = [
    "commits", "versions", "files of the table", "files of its log", "start to first answer, ms", "SQL, ms", "`/metrics`, ms",
    "memory of a new query process, MiB", "of the old one, MiB", "of the pipeline, MiB",
]


def main():
    parser = argparse.ArgumentParser(prog="just bench-commits", description=__doc__)
    parser.add_argument("binaries", help="the folder of the binaries to measure")
    parser.add_argument("--commits", type=int, default=POINTS[-1], help="how many small commits")
    parser.add_argument("--events", type=int, default=1_000_000, help="events that are there before")
    options = parser.parse_args()
    with Stack(options) as stack:
        stack.nats()
        fill(options, stack)
        print(conditions(options), flush=True)
        print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
        measure(options, stack)


def fill(options, stack):
    """The events before, by a server of their own."""
    url, admin = stack.serve()
    load(options, url, "max for 1h", 8, ["--check", "--batch", 1000, "--requests", options.events // 1000, "--variety", options.events])
    stack.wait_committed(admin)
    stack.end("serve")


def measure(options, stack):
    stack.roles(f"pipeline.max_rows={ROWS}", "maintenance.interval=1s", "maintenance.keep=1m")
    before = 0
    for point in [point for point in POINTS if point <= options.commits]:
        if point > before:
            arguments = ["--no-check", "--batch", ROWS, "--requests", point - before]
            load(options, stack.ingest, f"{RATE} for 1h", 4, arguments)
            stack.wait_committed(stack.pipeline_admin, PATIENCE)
        before = point
        print("| " + " | ".join(report.number(value) for value in [point, *seen(stack, options.events + point * ROWS)]) + " |", flush=True)


def seen(stack, rows):
    table = json.loads(stack.tidemark("table", "status", "--json"))["events"]
    if table["rows"] != rows:
        raise SystemExit(f"the table has {table['rows']} rows and not {rows}, so there is no result")
    starts, memory = zip(*(start(stack) for _ in range(STARTS)))
    times = [statistics.median(milliseconds(stack.query + question) for _ in range(TURNS)) for question in QUESTIONS.values()]
    old, pipeline = (memory_bytes(stack.processes[name].pid) / 2**20 for name in ("query", "pipeline"))
    new = statistics.median(memory) / 2**20
    return [table["version"], table["files"], table["log"]["files"], statistics.median(starts), *times, new, old, pipeline]


def start(stack):
    """Milliseconds from the start of a query process to the answer to its first question, and its memory after both questions."""
    began, port = time.perf_counter(), free_port()
    command = [f"{stack.binaries}/query"]
    for setting in [*stack.settings, f"query.listen=127.0.0.1:{port}", "query.admin_listen=127.0.0.1:0"]:
        command += ["--set", setting]
    stack.start("another", command)
    until("the first answer", lambda: get(f"http://127.0.0.1:{port}{QUESTIONS['SQL']}"), pause=0.002)
    took = (time.perf_counter() - began) * 1000
    for question in QUESTIONS.values():
        get(f"http://127.0.0.1:{port}{question}")
    memory = memory_bytes(stack.processes["another"].pid)
    stack.end("another")
    return took, memory


def milliseconds(url):
    began = time.perf_counter()
    get(url)
    return (time.perf_counter() - began) * 1000


def conditions(options):
    machine = report.machine()
    return (
        f"{options.events:,} events, then at most {RATE} commits a second of {ROWS} events each. Medians of {TURNS} questions and {STARTS} starts. "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}. Commit {report.commit()}, {time.strftime('%F', time.gmtime())}.\n"
    )


if __name__ == "__main__":
    main()
