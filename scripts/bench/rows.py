"""The measurements. Each gives rows for the table: what, target, ours, the peer measured in turns with it, and how both spread."""

import json
import os
import re
import statistics
import subprocess
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from loads import BULK, Cpu, costs, finished, load, start
from processes import Stack, get, kill, memory_bytes, metric, most_memory_bytes, until
from report import PLOTS
from row import Row, at_least, at_most, medians
from sizes import stored_size

MEGABYTE = 1e6
# `ingest.block_target` and `ingest.blocks_in_flight`.
BLOCK_BYTES = 512 * 1024
BLOCKS_IN_FLIGHT = 2
PROBES_A_SECOND = 20
PROBERS = 64
# The pipeline commits after 30 s at the latest (`pipeline.max_age`): what is measured for less may have met no commit.
WITH_COMMITS = 60
RAMP_STEP = 30
# At 20,000/s it commits each 27 s, when `pipeline.max_bytes` are there.
JUST_BEFORE_A_COMMIT = 25
# So many that after a pause they are not what the requests wait for: 20,000/s for 30 ms.
RAMP_CONNECTIONS = 600


def flawless(report):
    """A load of which everything was answered well; else there is no result."""
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
    """Single events against a stream with a message for each, in turns, each with a server of its own; both synced before the answer."""
    with Stack(options) as stack, Stack(options) as theirs_stack:
        stack.nats()
        theirs_stack.nats()
        url, admin = stack.serve()
        each = theirs_stack.peer("message", "--nats", theirs_stack.nats_url)
        ours, peers, cpu, cpu_of_peer = [], [], [], []
        acknowledged = 0
        for number in range(options.rounds + 1):
            seconds = options.seconds if number else options.warmup
            with Cpu(theirs_stack) as theirs_spent:
                theirs = flawless(load(options, each, f"max for {seconds}s", 250, ["--no-check"]))
            acknowledged += theirs["statuses"].get("202", 0)
            stored = int(get(f"{each}/messages"))
            if stored != acknowledged:
                raise SystemExit(f"the peer has {stored} messages of {acknowledged}, so there is no result")
            with Cpu(stack) as spent:
                report = flawless(load(options, url, f"max for {seconds}s", 250))
            stack.wait_committed(admin)
            if number:
                peers.append(theirs["accepted_per_second"])
                ours.append(report["accepted_per_second"])
                cpu.append(costs(spent, report))
                cpu_of_peer.append(costs(theirs_spent, theirs))
    details = {"cpu_us_per_event": medians(cpu), "cpu_us_per_event_of_the_peer": medians(cpu_of_peer)}
    what = "group commit against a message for each event, 250 connections, sync always"
    return [Row(what, ">= 8x", "requests/s", ours, peers, at_least(8), details=details)]


def raw_jetstream(options):
    """What the journal takes of messages like the blocks of bulk, without anything of ours."""
    rows = []
    for sync in ["always", "default"]:
        with Stack(options) as stack:
            stack.nats(sync)
            rates = []
            for _ in range(options.rounds):
                arguments = ["--nats", stack.nats_url, "--bytes", str(BLOCK_BYTES), "--in-flight", str(BLOCKS_IN_FLIGHT), "--seconds", str(options.seconds)]
                said = subprocess.run([f"{options.binaries}/bench-peer", "publish", *arguments], check=True, capture_output=True).stdout
                answer = json.loads(said)
                rates.append(answer["bytes"] / answer["seconds"] / MEGABYTE)
            what = f"JetStream alone, messages of {BLOCK_BYTES // 1024} KiB, {BLOCKS_IN_FLIGHT} in flight, sync {sync}"
            rows.append(Row(what, "", "MB/s", rates, notes="as the blocks of bulk"))
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
        Row("then 20,000/s: p95", "<= 10 ms", "ms", of(fast, "p95"), bound=at_most(10)),
        Row("then 20,000/s: p99", "<= 30 ms", "ms", of(fast, "p99"), bound=at_most(30)),
        Row("of both: errors and dropped", "0", "requests", errors, bound=at_most(0), notes="in any round", judged=max, details=details),
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
        rates, doors, journal, cpu = [], [], [], []
        for number in range(options.rounds + 1):
            before = stack.journal()["bytes"]
            seconds = options.seconds * 2 if number else options.warmup
            arguments = ["--check", "--batch", BULK, "--variety", options.variety, "--ids", "none"]
            with Cpu(stack) as spent:
                report = flawless(load(options, url, f"max for {seconds}s", 8, arguments))
                done = stack.wait_committed(admin)
            if number:
                rates.append(report["acknowledged_events"] / (done - began(report)))
                doors.append(report["acknowledged_events_per_second"])
                journal.append((stack.journal()["bytes"] - before) / report["took_s"] / MEGABYTE)
                cpu.append(spent.per_event(report["acknowledged_events"]))
        details = {"door_events_per_second": doors, "journal_mb_per_second": journal, "cpu_us_per_event": medians(cpu)}
    note = "with the two seconds of `pipeline.max_idle` before the last commit"
    return [Row("bulk, 1,000 events in a request, to committed Parquet", ">= 250,000/s", "events/s", rates, bound=at_least(250_000), notes=note, details=details)]


def drain(options):
    """A journal that was filled while no pipeline ran."""
    rates, cpu = [], []
    for _ in range(options.rounds):
        with Stack(options) as stack:
            stack.nats()
            url, _ = stack.role("ingest", True)
            arguments = ["--no-check", "--batch", BULK, "--variety", options.variety, "--ids", "none"]
            report = flawless(load(options, url, f"max for {options.seconds * 2}s", 8, arguments))
            kill(stack.processes.pop("ingest"))
            began_at = time.time()
            with Cpu(stack) as spent:
                _, admin = stack.role("pipeline", False, "pipeline.max_idle=100ms")
                done = stack.wait_committed(admin)
            cpu.append(spent.per_event(report["acknowledged_events"]))
            query, _ = stack.role("query", True, f"query.pipelines={admin}")
            if count(query, report) != report["acknowledged_events"]:
                raise SystemExit("the table has not what was acknowledged, so there is no result")
            rates.append(report["acknowledged_events"] / (done - began_at))
    note = "from the start of the process, with `pipeline.max_idle` = 100 ms"
    return [Row("draining a backlog, pipeline alone, to committed Parquet", ">= 500,000/s", "events/s", rates, bound=at_least(500_000), notes=note,
                details={"cpu_us_per_event": medians(cpu)})]


def freshness(options):
    """From the 202 of an event to the first answer of /metrics that counts it, while 10,000/s come in."""
    middles, tails, behind, probes, cpu = [], [], [], [], []
    with Stack(options) as stack:
        stack.nats()
        url, admin = stack.serve()
        for number in range(options.rounds):
            with Cpu(stack) as spent:
                running = start(options, url, f"10000 for {WITH_COMMITS}s")
                time.sleep(1)
                waits = probed(url, f"probe-{number}", WITH_COMMITS - 2)
                report = finished(running)
                stack.wait_committed(admin)
            behind.append(report["wait_ms"]["p99"])
            cpu.append(costs(spent, report))
            middles.append(statistics.median(waits))
            tails.append(statistics.quantiles(waits, n=100, method="inclusive")[98])
            probes.append(len(waits))
    details = {"probes": probes, "p99_wait_of_the_load_ms": behind, "cpu_us_per_event": medians(cpu)}
    return [
        Row("freshness at 10,000/s: from 202 to /metrics, p50", "<= 30 ms", "ms", middles, bound=at_most(30)),
        Row("freshness at 10,000/s: p99", "<= 150 ms", "ms", tails, bound=at_most(150), details=details),
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
    times, again = [], []
    with Stack(options) as stack:
        stack.nats()
        stack.roles()
        for _ in range(options.rounds):
            arguments = ["--check", "--query-url", stack.query]
            running = start(options, stack.ingest, f"20000 for {JUST_BEFORE_A_COMMIT + 10}s", RAMP_CONNECTIONS, arguments)
            time.sleep(JUST_BEFORE_A_COMMIT)
            again.append(metric(stack.pipeline_admin, "tidemark_pipeline_uncommitted_messages"))
            kill(stack.processes["pipeline"])
            began_at = time.time()
            stack.start_again("pipeline")
            position = post(stack.ingest, "probe")["position"]
            until("the pipeline to catch up", lambda: is_visible(stack.query, position))
            times.append(time.time() - began_at)
            finished(running)
            stack.wait_committed(stack.pipeline_admin)
    details = {"messages_to_read_again": again}
    return [Row("pipeline back after kill -9 at 20,000/s: caught up", "<= 3 s", "s", times, bound=at_most(3), details=details)]


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
                report = flawless(load(options, stack.ingest, f"20000 for {WITH_COMMITS}s", RAMP_CONNECTIONS, ["--no-check"]))
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
