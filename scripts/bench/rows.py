"""The measurements. Each gives rows for the table: what, target, ours, the peer measured in turns with it, and how both spread."""

import json
import os
import random
import re
import statistics
import subprocess
import time
import urllib.parse
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from loads import MICROSECONDS, Cpu, finished, load, start
from processes import Stack, get, kill, memory_bytes, metric, most_memory_bytes, until
from report import PLOTS

MEGABYTE = 1e6
BULK = 1000
# Of the table whose size is measured: more than maintenance leaves alone in an hour that is not over, and no more than it merges at once.
COMMITS = 50
# 2026-11-19.
HOSTILE_DAY_US = 1_795_046_400_000_000
PROBES_A_SECOND = 20
PROBERS = 64
# The pipeline commits every 30 s (`pipeline.max_age`): what is measured for less may have met no commit.
WITH_COMMITS = 60
RAMP_STEP = 30
JUST_BEFORE_A_COMMIT = 28
# So many that after a pause they are not what the requests wait for: 20,000/s for 30 ms.
RAMP_CONNECTIONS = 600


class Row:
    """One line of the table. `ours` and `peers` are by round; the ratio is the median of the ratios of the rounds."""

    def __init__(self, what, target, unit, ours, peers=None, bound=None, notes="", details=None, judged=statistics.median):
        self.what, self.target, self.unit, self.ours, self.peers = what, target, unit, ours, peers
        self.ratios = [our / peer for our, peer in zip(ours, peers)] if peers else None
        self.short_percent = bound(judged(self.ratios if peers else ours)) if bound else None
        self.notes, self.details = notes, details or {}

    def as_json(self):
        return vars(self)


def at_least(bound):
    """By how much less a measure is, in percent of the bound; 0 for none."""
    return lambda measured: max(0, 100 * (bound - measured) / bound)


def at_most(bound):
    """By how much more a measure is, in percent of the bound; 0 for none."""
    return lambda measured: max(0, 100 * (measured - bound) / max(bound, 1))


def costs(spent, report):
    """What a request costs each process in microseconds of CPU; of the generator too."""
    return spent.per_event(report["sent"]) | {"load": round(report["cpu_us_per_request"], 2)}


def medians(rounds):
    """Of each name over the rounds."""
    return {name: round(statistics.median(one.get(name, 0) for one in rounds), 2) for name in rounds[0]}


def flawless(report):
    """A closed loop of which everything was answered well; else there is no result."""
    if report["errors"] or report["dropped"]:
        raise SystemExit(f"{report['errors']} errors and {report['dropped']} dropped of {report['sent']}, so there is no result")
    return report


def door(options):
    """Single events at full speed against a handler that does nothing, in turns."""
    rows = []
    for sync, target in [("always", 0.45), ("default", 0.65)]:
        for connections in [100, 250]:
            with Stack(options) as stack:
                stack.nats(sync)
                url, admin = stack.serve()
                empty = stack.peer("empty")
                ours, peers, p99, lags, idle, stolen, cpu = [], [], [], [], [], [], []
                for number in range(options.rounds + 1):
                    seconds = options.seconds if number else options.warmup
                    theirs = flawless(load(options, empty, f"max for {seconds}s", connections, ["--no-check"]))
                    with Cpu(stack) as spent:
                        report = flawless(load(options, url, f"max for {seconds}s", connections))
                    lag = metric(admin, "tidemark_pipeline_lag_seconds")
                    stack.wait_committed(admin)
                    if number:
                        peers.append(theirs["accepted_per_second"])
                        ours.append(report["accepted_per_second"])
                        p99.append(report["latency_ms"]["p99"])
                        lags.append(lag)
                        idle.append(spent.idle_percent)
                        stolen.append(spent.stolen_percent)
                        cpu.append(costs(spent, report))
                what = f"single events, {connections} connections, sync {sync}, against an empty handler"
                details = {"cpu_us_per_event": medians(cpu), "lag_seconds_at_the_end": lags, "p99_ms": p99, "idle_percent": idle, "stolen_percent": stolen}
                rows.append(Row(what, f">= {target}x", "requests/s", ours, peers, at_least(target), details=details))
                if sync == "always" and connections == 250:
                    note = "closed loop"
                    rows.append(Row("the same, p99 at 250 connections", "<= 15 ms", "ms", p99, bound=at_most(15), notes=note))
    return rows


def group_commit(options):
    """Single events against the same stream with a message for each, in turns; both synced before the answer."""
    with Stack(options) as stack:
        stack.nats()
        url, admin = stack.serve()
        each = stack.peer("message", "--nats", stack.nats_url)
        ours, peers = [], []
        acknowledged = 0
        for number in range(options.rounds + 1):
            seconds = options.seconds if number else options.warmup
            theirs = flawless(load(options, each, f"max for {seconds}s", 250, ["--no-check"]))
            acknowledged += theirs["statuses"].get("202", 0)
            stored = int(get(f"{each}/messages"))
            if stored != acknowledged:
                raise SystemExit(f"the peer has {stored} messages of {acknowledged}, so there is no result")
            report = flawless(load(options, url, f"max for {seconds}s", 250))
            stack.wait_committed(admin)
            if number:
                peers.append(theirs["accepted_per_second"])
                ours.append(report["accepted_per_second"])
    return [Row("group commit against a message for each event, 250 connections, sync always", ">= 8x", "requests/s", ours, peers, at_least(8))]


def raw_jetstream(options):
    """What the journal takes at most: messages of 30 KB, 16 in flight, without anything of ours."""
    rows = []
    for sync in ["always", "default"]:
        with Stack(options) as stack:
            stack.nats(sync)
            rates = []
            for _ in range(options.rounds):
                arguments = ["--nats", stack.nats_url, "--bytes", "30000", "--in-flight", "16", "--seconds", str(options.seconds)]
                said = subprocess.run([f"{options.binaries}/bench-peer", "publish", *arguments], check=True, capture_output=True).stdout
                answer = json.loads(said)
                rates.append(answer["bytes"] / answer["seconds"] / MEGABYTE)
            rows.append(Row(f"JetStream alone, messages of 30 KB, 16 in flight, sync {sync}", "", "MB/s", rates, notes="the bound of bulk"))
    return rows


def open_loop(options):
    """The ramp of the load tests: fixed times, latency from the time at which a request was meant to be sent."""
    with Stack(options) as stack:
        stack.nats()
        url, admin = stack.serve()
        load(options, url, f"2000 for {options.warmup}s")
        steps, errors, waits, idle, stolen, cpu = [], [], [], [], [], []
        rate = f"2000 for {RAMP_STEP}s, 20000 for {RAMP_STEP}s"
        for _ in range(options.rounds):
            with Cpu(stack) as spent:
                report = load(options, url, rate, RAMP_CONNECTIONS, ["--check", "--html", f"{stack.folder}/ramp.html"])
                stack.wait_committed(admin)
            steps.append([step["latency_ms"] for step in report["steps"]])
            errors.append(report["errors"] + report["dropped"])
            waits.append(report["wait_ms"])
            cpu.append(costs(spent, report))
            idle.append(spent.idle_percent)
            stolen.append(spent.stolen_percent)
        keep_plots(f"{stack.folder}/ramp.html", os.path.dirname(options.page) or ".")
    slow, fast = zip(*steps)
    of = lambda of_rounds, name: [latency[name] for latency in of_rounds]
    slower = lambda name: [max(step[name] for step in of_round) for of_round in steps]
    details = {"cpu_us_per_event": medians(cpu), "wait_ms": medians(waits), "idle_percent": idle, "stolen_percent": stolen}
    return [
        Row(f"open loop, {RAMP_CONNECTIONS} connections, 2,000/s: p99", "<= 5 ms", "ms", of(slow, "p99"), bound=at_most(5)),
        Row("then 20,000/s: p95", "<= 10 ms", "ms", of(fast, "p95"), bound=at_most(10), details=details),
        Row("then 20,000/s: p99", "<= 30 ms", "ms", of(fast, "p99"), bound=at_most(30)),
        Row("of both: errors and dropped", "0", "requests", errors, bound=at_most(0), notes="in any round", judged=max),
        Row("the slower step, as the load test of another service wants it: p95", "<= 100 ms", "ms", slower("p95"),
            bound=at_most(100), notes="in any round", judged=max),
        Row("the slower step: p99", "<= 200 ms", "ms", slower("p99"), bound=at_most(200), notes="in any round", judged=max),
    ]


def keep_plots(page, folder):
    """The plots of the last ramp, next to the page of results, which shows them."""
    with open(page) as file:
        plots = re.findall(r"<svg.*?</svg>", file.read(), re.DOTALL)
    for name, plot in zip(PLOTS, plots, strict=True):
        with open(f"{folder}/{name}.svg", "w") as file:
            file.write(plot + "\n")


def bulk(options):
    """From the first request to the last row in Parquet, committed."""
    with Stack(options) as stack:
        stack.nats()
        url, admin = stack.serve()
        rates, doors, cpu = [], [], []
        for number in range(options.rounds + 1):
            seconds = options.seconds * 2 if number else options.warmup
            arguments = ["--check", "--batch", BULK, "--variety", options.variety, "--ids", "none"]
            with Cpu(stack) as spent:
                report = flawless(load(options, url, f"max for {seconds}s", 8, arguments))
                done = stack.wait_committed(admin)
            if number:
                rates.append(report["acknowledged_events"] / (done - began(report)))
                doors.append(report["acknowledged_events_per_second"])
                cpu.append(spent.per_event(report["acknowledged_events"]))
        details = {"door_events_per_second": doors, "cpu_us_per_event": medians(cpu)}
    note = "with the two seconds of `pipeline.max_idle` before the last commit"
    return [Row("bulk, 1,000 events in a request, to committed Parquet", ">= 250,000/s", "events/s", rates, bound=at_least(250_000), notes=note, details=details)]


def drain(options):
    """A journal that was filled while no pipeline ran."""
    rates = []
    for _ in range(options.rounds):
        with Stack(options) as stack:
            stack.nats()
            url, _ = stack.role("ingest", True)
            arguments = ["--no-check", "--batch", BULK, "--variety", options.variety, "--ids", "none"]
            report = load(options, url, f"max for {options.seconds * 2}s", 8, arguments)
            kill(stack.processes.pop("ingest"))
            began_at = time.time()
            _, admin = stack.role("pipeline", False, "pipeline.max_idle=100ms")
            done = stack.wait_committed(admin)
            query, _ = stack.role("query", True, f"query.pipelines={admin}")
            if count(query, report) != report["acknowledged_events"]:
                raise SystemExit("the table has not what was acknowledged, so there is no result")
            rates.append(report["acknowledged_events"] / (done - began_at))
    note = "from the start of the process, with `pipeline.max_idle` = 100 ms"
    return [Row("draining a backlog, pipeline alone, to committed Parquet", ">= 500,000/s", "events/s", rates, bound=at_least(500_000), notes=note)]


def freshness(options):
    """From the 202 of an event to the first answer of /metrics that counts it, while 10,000/s come in."""
    middles, tails, behind, probes = [], [], [], []
    with Stack(options) as stack:
        stack.nats()
        url, admin = stack.serve()
        for number in range(options.rounds):
            running = start(options, url, f"10000 for {WITH_COMMITS}s")
            time.sleep(1)
            waits = probed(url, f"probe-{number}", WITH_COMMITS - 2)
            behind.append(finished(running)["wait_ms"]["p99"])
            stack.wait_committed(admin)
            middles.append(statistics.median(waits))
            tails.append(statistics.quantiles(waits, n=100, method="inclusive")[98])
            probes.append(len(waits))
    return [
        Row("freshness at 10,000/s: from 202 to /metrics, p50", "<= 30 ms", "ms", middles, bound=at_most(30)),
        Row("freshness at 10,000/s: p99", "<= 150 ms", "ms", tails, bound=at_most(150), details={"probes": probes, "p99_wait_of_the_load_ms": behind}),
    ]


def probed(url, name, seconds):
    """Events at fixed times, whatever becomes of those before: for each the milliseconds until it is counted."""
    with ThreadPoolExecutor(PROBERS) as probers:
        began, waits = time.perf_counter(), []
        for number in range(seconds * PROBES_A_SECOND):
            time.sleep(max(0, began + number / PROBES_A_SECOND - time.perf_counter()))
            waits.append(probers.submit(seen_after, url, f"{name}-{number}"))
        return [wait.result() for wait in waits]


def seen_after(url, name):
    """Milliseconds from the answer to the POST of an event until it is counted."""
    post(url, name)
    acknowledged, now = time.perf_counter(), int(time.time())
    question = f"{url}/metrics?event_name={name}&from={now - 10}&to={now + 60}"
    while json.loads(get(question))["total_events"] == 0:
        if time.perf_counter() - acknowledged > 30:
            raise SystemExit(f"`{name}` is not seen after 30 s")
    return (time.perf_counter() - acknowledged) * 1000


def post(url, name):
    """One event; the answer."""
    event = {"event_name": name, "user_id": "probe", "timestamp": time.time_ns() // 1000}
    request = urllib.request.Request(f"{url}/events", json.dumps(event).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def recovery(options):
    """The pipeline is killed and started again while 20,000/s come in: until a question is answered that waits for what came last."""
    times = []
    with Stack(options) as stack:
        stack.nats()
        stack.roles()
        for _ in range(options.rounds):
            arguments = ["--check", "--query-url", stack.query]
            running = start(options, stack.ingest, f"20000 for {JUST_BEFORE_A_COMMIT + 10}s", RAMP_CONNECTIONS, arguments)
            time.sleep(JUST_BEFORE_A_COMMIT)
            kill(stack.processes["pipeline"])
            began_at = time.time()
            stack.start_again("pipeline")
            position = post(stack.ingest, "probe")["position"]
            until("the pipeline to catch up", lambda: is_visible(stack.query, position))
            times.append(time.time() - began_at)
            finished(running)
            stack.wait_committed(stack.pipeline_admin)
    return [Row("pipeline back after kill -9 at 20,000/s: caught up", "<= 3 s", "s", times, bound=at_most(3))]


def is_visible(query, position):
    """Whether a question is answered that waits for this position, and so for everything before it."""
    return get(f"{query}/sql?q=SELECT%201&at_least={position}")


def footprint(options):
    """Memory of each role at rest and at 20,000/s, and what an event costs each process."""
    most = {"ingest": 128, "pipeline": 600, "query": 300}
    rest, busy, cpu = {name: [] for name in most}, {name: [] for name in most}, []
    for _ in range(options.rounds):
        with Stack(options) as stack:
            stack.nats()
            stack.roles()
            time.sleep(2)
            for name in most:
                rest[name].append(memory_bytes(stack.processes[name].pid) / 2**20)
            with Cpu(stack) as spent:
                report = load(options, stack.ingest, f"20000 for {WITH_COMMITS}s", RAMP_CONNECTIONS, ["--no-check"])
                stack.wait_committed(stack.pipeline_admin)
            if count(stack.query, report) != report["acknowledged_events"]:
                raise SystemExit("the table has not what was acknowledged, so there is no result")
            for name in most:
                busy[name].append(most_memory_bytes(stack.processes[name].pid) / 2**20)
            cpu.append(costs(spent, report))
    rows = [Row(f"memory of {name} at rest", "<= 300 MiB" if name == "query" else "", "MiB", rest[name], bound=at_most(300) if name == "query" else None) for name in most]
    rows += [Row(f"memory of {name} at 20,000/s, the most", "" if name == "query" else f"<= {most[name]} MiB", "MiB", busy[name], bound=None if name == "query" else at_most(most[name])) for name in most]
    rows += [Row(f"CPU of {name} for an event at 20,000/s", "", "us", [one[name] for one in cpu]) for name in cpu[0]]
    return rows


def stored_size(options):
    """Parquet as it was committed and after compaction, of events that differ from each other; each in the table's newest version."""
    rows = []
    kinds = [("event_id: none", (45, 30), send("none")), ("event_id: uuid", (62, 47), send("uuid")), ("hostile", (None, None), send_hostile)]
    for kind, targets, sending in kinds:
        runs = [stored(options, sending, number + 1) for number in range(min(options.rounds, 2))]
        for when, target in zip(("before", "after"), targets):
            sizes = [run[when]["bytes_per_row"] for run in runs]
            files = {"files": [run[when]["files"] for run in runs], "rows_of_a_file": [run[when]["rows"] / run[when]["files"] for run in runs]}
            what, bound = f"stored size {when} compaction, {kind}", at_most(target) if target else None
            rows.append(Row(what, f"<= {target} B" if target else "", "bytes/event", sizes, bound=bound, details=files))
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


def began(report):
    return datetime.fromisoformat(report["began"][:26].rstrip("Z") + "+00:00").timestamp()


def count(query, report):
    """The rows of a load."""
    statement = f"SELECT count(*) AS n FROM events WHERE site_id = '{report['run']}'"
    return json.loads(get(f"{query}/sql?format=json&q={urllib.parse.quote(statement)}"))[0]["n"]


ALL = {
    "door": door,
    "group-commit": group_commit,
    "raw-jetstream": raw_jetstream,
    "open-loop": open_loop,
    "bulk": bulk,
    "drain": drain,
    "freshness": freshness,
    "recovery": recovery,
    "footprint": footprint,
    "stored-size": stored_size,
}
