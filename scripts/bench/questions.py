"""Questions over a month of events: Tidemark against DuckDB, chDB and plain DataFusion on the same Parquet files.

Run by `just bench`. Loads the events through HTTP into a journal and a table of its own, ends the writer, and then asks
everybody the same question in turns, each in its own process or connection with two threads. Then events come in again, alone and
beside heavy SQL in turns. Prints Markdown.
"""

import argparse
import glob
import json
import os
import statistics
import subprocess
import threading
import time
import urllib.parse
from datetime import datetime, timedelta, timezone

from loads import load
from processes import Stack, free_port, get, until
from report import commit, machine, number
from rows import count

END = datetime(2026, 11, 21, tzinfo=timezone.utc)
DAYS = 30
HOUR_US = 3_600_000_000
THREADS = 2
# Every file's summary or rows are read by each question; or after the first time only sums are made, as far as they fit.
CACHES = {"counted anew": "0 B", "kept": "256 MiB"}
PEERS = ["DuckDB", "chDB", "DataFusion"]

# Name, parameters of /metrics, and the columns by which the others group.
METRICS = [
    ("users by hour", "group_by=hour", "hour"),
    ("users by day", "group_by=day", "day"),
    ("users by channel", "group_by=channel", "channel"),
    ("users by hour and channel", "group_by=hour,channel", "hour, channel"),
    ("users by hour of one event", "group_by=hour&event_name=purchase", "hour"),
]
# As DuckDB and ClickHouse count users.
DISTINCT = {"exact": ("count(DISTINCT user_id)", "uniqExact(user_id)"), "approx": ("approx_count_distinct(user_id)", "uniq(user_id)")}

# Name, Tidemark and DataFusion, DuckDB, ClickHouse where they say it otherwise; plain DataFusion has no operators for JSON. Each answers
# with one number, so that the answers can be compared.
WEEK = "FROM events WHERE path LIKE '%7' AND timestamp >= {0} '2026-11-13 00:00:00{1} AND timestamp < {0} '2026-11-20 00:00:00{1}"
SQL = [
    (
        "sum of the ten most viewed paths",
        "SELECT sum(n) FROM (SELECT path, count(*) AS n FROM events WHERE event_name = 'page_view' GROUP BY path ORDER BY n DESC LIMIT 10)",
        None,
        None,
    ),
    (
        "buyers who searched before",
        "SELECT count(*) FROM (SELECT user_id, min(CASE WHEN event_name = 'search' THEN timestamp END) AS s, max(CASE WHEN event_name = "
        "'purchase' THEN timestamp END) AS p FROM events WHERE event_name IN ('search', 'purchase') GROUP BY user_id) WHERE s < p",
        None,
        None,
    ),
    (
        "sum of the prices of purchases (JSON)",
        "SELECT round(sum((metadata->>'price')::double)) FROM events WHERE event_name = 'purchase'",
        "SELECT round(sum((metadata->>'price')::double)) FROM events WHERE event_name = 'purchase'",
        "SELECT round(sum(JSONExtractFloat(metadata, 'price'))) FROM events WHERE event_name = 'purchase'",
    ),
    (
        "page views of the busiest minute",
        "SELECT max(n) FROM (SELECT date_trunc('minute', timestamp) AS m, count(*) AS n FROM events WHERE event_name = 'page_view' GROUP BY 1)",
        None,
        None,
    ),
    (
        "users of some paths in one week",
        "SELECT count(DISTINCT user_id) " + WEEK.format("TIMESTAMP", "Z'"),
        "SELECT count(DISTINCT user_id) " + WEEK.format("TIMESTAMPTZ", "Z'"),
        "SELECT count(DISTINCT user_id) " + WEEK.format("toDateTime64(", "', 6, 'UTC')"),
    ),
]

HEAVY = [
    "SELECT user_id, path, count(DISTINCT metadata) AS n FROM events GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10",
    "SELECT count(*) FROM events a JOIN events b ON a.user_id = b.user_id WHERE a.event_name = 'purchase' AND b.event_name = 'search'",
    "SELECT event_name, regexp_replace(path, '[0-9]+', 'n') AS p, count(*) FROM events GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10",
    "SELECT sum((metadata->>'price')::double) FROM events",
]
CLIENTS = 8

HEAD = """Medians of rounds in turns, after a first one that warms everybody's caches, in milliseconds, with the spread. "Counted anew" has `query.cache`
= 0: every file's summary or rows are read by each question. "Kept" has 256 MiB, so that after the first time only sums are made, as far as
they fit; the aim in milliseconds is held against it, as it is a process that was asked before. Users of the others are `count(DISTINCT)`,
`uniqExact`, `approx_count_distinct` and `uniq`. DuckDB and chDB ask for the groups and for the total over all, as `/metrics` answers both, in one
statement (`GROUPING SETS`, `WITH TOTALS`), which is faster than two. Exact answers are compared and have to be equal; of approximate ones the
numbers of events. All read the same files.
"""
# Of the journal: all events of a run lie in it until they are in the table.
JOURNAL = ["journal.max_bytes=8GiB", "journal.retention=1m"]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("binaries", help="the folder of the release binaries")
    options.add_argument("--events", type=int, default=20_000_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--lake", help="a table that is there already; nothing is loaded")
    options = options.parse_args()
    with Stack(options) as stack:
        ask(options, options.lake or filled(options, stack))
        if not options.lake:
            beside_sql(options, stack)


def filled(options, stack):
    """A month of events in a table that is merged as far as it can be."""
    stack.nats()
    url, _ = stack.serve(*JOURNAL)
    for day in range(DAYS):
        end = END - timedelta(days=DAYS - 1 - day)
        subprocess.run([f"{options.binaries}/tidemark", "demo", "--url", url, "--events", str(options.events // DAYS), "--seed", str(day),
                        "--end", end.isoformat(), "--batch", "2000"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.tidemark("table", "compact")
    stack.end("serve")
    # The others read every file that they find, also those that were merged.
    time.sleep(3)
    stack.tidemark("table", "vacuum", "--set", "maintenance.keep=2s", "--set", "query.timeout=1s")
    return f"{stack.folder}/lake"


def ask(options, lake):
    files = f"{lake}/events/event_date=*/*.parquet"  # the log has Parquet files too: its checkpoints
    with Stack(options) as stack:
        tidemark = {name: Tidemark(stack, lake, name, cache) for name, cache in CACHES.items()}
        duck, house, plain = Duck(files), House(files), Plain(lake)
        say_what_is_asked(options, next(iter(tidemark.values())), glob.glob(files), duck, house, plain)
        for title, parameters, key in METRICS:
            where = "WHERE event_name = 'purchase'" if "purchase" in parameters else ""
            for uniques, (in_duck, in_house) in DISTINCT.items():
                askers = {name: lambda of=of: of.metrics(parameters, uniques) for name, of in tidemark.items()}
                askers["DuckDB"] = lambda: duck.metrics(key, in_duck, where)
                askers["chDB"] = lambda: house.metrics(key, in_house, where)
                report(f"{title}, {uniques}", uniques == "exact", askers, options.rounds)
        for title, ours, in_duck, in_house in SQL:
            askers = {"counted anew": lambda: tidemark["counted anew"].number(ours)}
            askers |= {"DuckDB": lambda: duck.number(in_duck or ours), "chDB": lambda: house.number(in_house or ours)}
            if "->>" not in ours:
                askers["DataFusion"] = lambda: plain.number(ours)
            report(f"SQL: {title}", True, askers, options.rounds)


def say_what_is_asked(options, tidemark, files, *peers):
    total = tidemark.number("SELECT count(*) AS n FROM events")
    size = sum(os.path.getsize(path) for path in files)
    on, versions = machine(), ", ".join(f"{peer.name} {peer.version}" for peer in peers)
    print(HEAD)
    loaded = ", which were there already" if options.lake else ""
    print(f"{total:,} events of {DAYS} days{loaded}, {len(files)} files, {size / total:.1f} bytes per event. {options.rounds} rounds;\n"
          f"{THREADS} threads each. {on['cpu']}, {on['cores']} cores, {on['system']}. Commit {commit()}, {time.strftime('%F', time.gmtime())}. {versions}.\n")
    print(f"| question | aim | {' | '.join(f'Tidemark, {name}' for name in CACHES)} | {' | '.join(PEERS)} | best of them / counted anew | met |\n"
          "|---|---|---|---|---|---|---|---|---|", flush=True)


class Tidemark:
    """A query process over a table that nobody writes."""

    def __init__(self, stack, lake, name, cache):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = [f"table.url={lake}", f"query.cache={cache}", f"query.listen=127.0.0.1:{port}", "query.admin_listen=127.0.0.1:0",
                    "query.pipelines=[]", f"query.threads={THREADS}", "query.memory=2GiB", "query.timeout=120s"]
        stack.start(name, [f"{stack.binaries}/query", *(argument for setting in settings for argument in ("--set", setting))])
        until("query", lambda: get(f"{self.url}/readyz"))

    def metrics(self, parameters, uniques):
        first = int((END - timedelta(days=DAYS)).timestamp())
        path = f"/metrics?from={first}&to={int(END.timestamp()) - 1}.999999&uniques={uniques}&{parameters}"
        answer = json.loads(get(f"{self.url}{path}", 300))
        return sum(group["total_events"] for group in answer["data"]), sum(group["unique_users"] for group in answer["data"]), answer["unique_users"]

    def number(self, sql):
        rows = json.loads(get(f"{self.url}/sql?format=json&q={urllib.parse.quote(sql)}", 300))
        return whole(next(iter(rows[0].values())))


class Duck:
    name = "DuckDB"

    def __init__(self, files):
        import duckdb

        self.version = duckdb.__version__
        self.connection = duckdb.connect(config={"threads": THREADS})
        self.connection.execute(f"CREATE VIEW events AS SELECT *, epoch_us(timestamp) // {HOUR_US} AS hour, epoch_us(timestamp) // {24 * HOUR_US} AS day "
                                f"FROM read_parquet('{files}', hive_partitioning = true)")

    def metrics(self, key, distinct, where):
        """Groups and total in one statement, which is faster than two."""
        is_total = f"grouping({key.split(',')[0]})"
        text = f"SELECT count(*), {distinct}, {is_total} FROM events {where} GROUP BY GROUPING SETS (({key}), ())"
        rows = self.connection.execute(text).fetchall()
        groups = [row for row in rows if not row[2]]
        return sum(row[0] for row in groups), sum(row[1] for row in groups), next(row[1] for row in rows if row[2])

    def number(self, sql):
        return whole(self.connection.execute(sql).fetchone()[0])


class House:
    name = "chDB"

    def __init__(self, files):
        import chdb
        import chdb.session

        self.version = chdb.__version__
        self.session = chdb.session.Session()
        self.session.query(f"SET max_threads = {THREADS}")
        self.session.query(f"CREATE VIEW events AS SELECT *, intDiv(toUnixTimestamp64Micro(timestamp), {HOUR_US}) AS hour, intDiv(hour, 24) AS day "
                           f"FROM file('{files}', Parquet)")

    def metrics(self, key, distinct, where):
        """Groups and total in one statement, which is faster than two."""
        text = f"SELECT count(), {distinct} FROM events {where} GROUP BY {key} WITH TOTALS"
        answer = json.loads(str(self.session.query(text, "JSONCompact")))
        return sum(int(row[0]) for row in answer["data"]), sum(int(row[1]) for row in answer["data"]), int(answer["totals"][1])

    def number(self, sql):
        return whole(json.loads(str(self.session.query(sql, "JSONCompactEachRow")))[0])


class Plain:
    """DataFusion without anything of ours."""

    name = "DataFusion"

    def __init__(self, lake):
        import datafusion
        import pyarrow

        self.version = datafusion.__version__
        self.context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(THREADS))
        self.context.register_parquet("events", f"{lake}/events/", table_partition_cols=[("event_date", pyarrow.string())])

    def number(self, sql):
        return whole(next(iter(self.context.sql(sql).to_pylist()[0].values())))


def whole(value):
    return round(float(value))


def report(title, must_agree, askers, rounds):
    """Asks everybody in turns, and prints a line of the table."""
    times, answers = {name: [] for name in askers}, {}
    for round_number in range(rounds + 1):
        for name, asker in askers.items():
            began = time.perf_counter()
            answers[name] = asker()
            if round_number:  # the first one warms everybody's caches
                times[name].append((time.perf_counter() - began) * 1000)
    if must_agree and len(set(answers.values())) != 1:
        raise SystemExit(f"{title}: the answers differ: {answers}")
    if not must_agree and len({answer[0] for answer in answers.values()}) != 1:
        raise SystemExit(f"{title}: the numbers of events differ: {answers}")
    peers = zip(*(times[name] for name in PEERS if name in times))
    ratios = [min(best) / ours for ours, best in zip(times["counted anew"], peers)]
    cells = " | ".join(spread(times[name]) if name in times else "-" for name in [*CACHES, *PEERS])
    aim, met = judged(title, times.get("kept"), statistics.median(ratios))
    print(f"| {title} | {aim} | {cells} | {spread(ratios)}x | {met} |", flush=True)


def spread(values):
    return f"{number(statistics.median(values))} ({number(min(values))}-{number(max(values))})"


def judged(title, kept_ms, ratio):
    """What is wanted, of a process that was asked before and of the ratio, and whether each is so."""
    most_ms, least_ratio = (None, 0.9) if title.startswith("SQL") else (500, 1) if title.endswith("exact") else (20, 20)
    says = lambda is_met: "yes" if is_met else "**no**"
    if most_ms is None:
        return f">= {least_ratio}x", says(ratio >= least_ratio)
    return f"kept <= {most_ms} ms, >= {least_ratio}x", f"{says(statistics.median(kept_ms) <= most_ms)}, {says(ratio >= least_ratio)}"


def beside_sql(options, stack):
    """5,000/s come in, alone and beside clients that want more than they can have; each acknowledged event is counted afterwards."""
    url, _ = stack.serve(*JOURNAL)
    runs = {"alone": [], "beside eight clients with heavy SQL": []}
    asked = {"answered": 0, "refused or stopped": 0}
    for round_number in range(options.rounds + 1):
        for name, reports in runs.items():
            with Clients(url, CLIENTS if "beside" in name else 0, asked):
                of_load = load(options, url, "5000 for 10s", 64, ["--no-check", "--seed", round_number])
            if count(url, of_load) != of_load["acknowledged_events"]:
                raise SystemExit("the table has not what was acknowledged, so there is no result")
            if round_number:
                reports.append(of_load)
    told = " and ".join(f"{times} were {what}" for what, times in asked.items())
    print(f"\n5,000 single-event requests a second for 10 s, fsync before each 202, {options.rounds} rounds in turns; medians with the spread.\n"
          f"Of the heavy statements {told} meanwhile.\n")
    print("| | acknowledged events/s | errors | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for name, reports in runs.items():
        rates = spread([of_load["acknowledged_events_per_second"] for of_load in reports])
        latencies = " | ".join(spread([of_load["latency_ms"][part] for of_load in reports]) for part in ["p50", "p99"])
        print(f"| {name} | {rates} | {sum(of_load['errors'] for of_load in reports)} | {latencies} |", flush=True)
    ratios = [after["acknowledged_events_per_second"] / before["acknowledged_events_per_second"] for before, after in zip(*runs.values())]
    print(f"\nRatio of the acknowledged events, round by round: {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f}).")


class Clients:
    """Threads that ask for much, one statement after the other, as long as the block runs."""

    def __init__(self, url, number_of_clients, asked):
        self.url, self.asked, self.stop = url, asked, threading.Event()
        self.threads = [threading.Thread(target=self.ask_for_much, args=(client,), daemon=True) for client in range(number_of_clients)]

    def __enter__(self):
        [thread.start() for thread in self.threads]

    def __exit__(self, *_):
        self.stop.set()
        [thread.join(60) for thread in self.threads]

    def ask_for_much(self, turn):
        while not self.stop.is_set():
            turn += 1
            try:
                get(f"{self.url}/sql?format=json&q=" + urllib.parse.quote(HEAVY[turn % len(HEAVY)]), 300)
                self.asked["answered"] += 1
            except OSError:  # refused for its memory, its time, or because too many run
                self.asked["refused or stopped"] += 1
                self.stop.wait(0.05)


if __name__ == "__main__":
    main()
