"""How large events are in Parquet."""

import json
import random
import subprocess
import uuid

from loads import BULK, load
from processes import Stack
from row import Row, at_most

# A size hardly differs from round to round.
ROUNDS = 2
# Of the table whose size is measured: more than maintenance leaves alone in an hour that is not over, and no more than it merges at once.
COMMITS = 50
# 2026-11-19.
HOSTILE_DAY_US = 1_795_046_400_000_000


def stored_size(options):
    """Parquet as it was committed and after compaction, of events that differ from each other; each in the table's newest version."""
    rows = []
    kinds = [("event_id: none", (45, 30), send("none")), ("event_id: uuid", (62, 47), send("uuid")), ("hostile", (None, None), send_hostile)]
    for kind, targets, sending in kinds:
        runs = [stored(options, sending, number + 1) for number in range(min(options.rounds, ROUNDS))]
        for when, target in zip(("before", "after"), targets):
            sizes = [run[when]["bytes_per_row"] for run in runs]
            files = {"files": [run[when]["files"] for run in runs], "rows_of_a_file": [run[when]["rows"] / run[when]["files"] for run in runs]}
            what, bound = f"stored size {when} compaction, {kind}", at_most(target) if target else None
            rows.append(Row(what, f"<= {target} B" if target else "", "bytes/event", sizes, bound=bound, notes=f"{len(sizes)} rounds", details=files))
    return rows


def stored(options, sending, seed):
    """The numbers of the table before compaction and after. Each commit has the rows that come in 30 s at some hundred events a second."""
    with Stack(options) as stack:
        stack.nats()
        url, admin = stack.serve(f"pipeline.max_rows={options.variety // COMMITS}", "maintenance.enabled=false", "maintenance.grace=0s")
        sending(options, url, seed)
        stack.wait_committed(admin)
        before = json.loads(stack.tidemark("table", "status", "--json"))["events"]
        stack.tidemark("table", "compact")
        after = json.loads(stack.tidemark("table", "status", "--json"))["events"]
        # Files of the hour that is not over are merged with each other alone.
        if after["files"] > after["partitions"] + 1:
            raise SystemExit(f"{after['files']} files of {after['partitions']} days were not compacted to the end, so there is no result")
        return {"before": before, "after": after}


def send(ids):
    def sending(options, url, seed):
        requests = max(options.variety // BULK, 8)
        arguments = ["--check", "--batch", BULK, "--variety", requests * BULK, "--requests", requests, "--ids", ids, "--seed", seed]
        load(options, url, "max for 1h", 8, arguments)

    return sending


def send_hostile(options, url, seed):
    """Random ids, and in the metadata 24 random bytes and a price: 42 bytes of each event that nothing can make smaller."""
    chance = random.Random(seed)
    command = [f"{options.binaries}/tidemark", "import", "--url", url, "-"]
    importing = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(options.variety):
        importing.stdin.write(json.dumps(hostile(chance)) + "\n")
    _, said = importing.communicate()
    if importing.returncode != 0:
        raise SystemExit(f"the import has failed, so there is no result: {said.strip()}")


def hostile(chance):
    return {
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "event_name": f"event_{min(int(chance.paretovariate(1)), 20)}",
        "user_id": f"user_{min(int(chance.paretovariate(0.5)), 1_000_000)}",
        "channel": chance.choice(["web", "mobile_app", "api", "email", "partner"]),
        "path": f"/products/{min(int(chance.paretovariate(1)), 1_000)}",
        "timestamp": HOSTILE_DAY_US + chance.randrange(86_400_000_000),
        "metadata": {"session": f"{chance.getrandbits(128):032x}", "trace": f"{chance.getrandbits(64):016x}", "price": chance.randrange(100_000) / 100},
    }
