"""Questions over a month of events: Tidemark against DuckDB, chDB and plain DataFusion on the same Parquet files.

Run by `just bench-metrics`. Loads the events through HTTP into a journal and a table of its own, ends the writer, and then asks
everybody the same question in turns, each in its own process or connection with two threads. Then events come in again, alone and
beside heavy SQL in turns. Prints Markdown.
"""

import argparse, contextlib, glob, json, os, platform, socket, statistics, subprocess, tempfile, threading, time, urllib.parse, urllib.request
from datetime import datetime, timedelta, timezone

END = datetime(2026, 11, 21, tzinfo=timezone.utc)
DAYS = 30
HOUR_US = 3_600_000_000

# Name, parameters of /metrics, and the columns by which the others group.
METRICS = [
    ("users by hour", "group_by=hour", "hour"),
    ("users by day", "group_by=day", "day"),
    ("users by channel", "group_by=channel", "channel"),
    ("users by hour and channel", "group_by=hour,channel", "hour, channel"),
    ("users by hour of one event", "group_by=hour&event_name=purchase", "hour"),
]

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


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("binaries", help="the folder of the release binaries")
    options.add_argument("--events", type=int, default=20_000_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--lake", help="a table that is there already; nothing is loaded")
    options = options.parse_args()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemark-bench-"))
        lake, nats = (options.lake, None) if options.lake else load(options, folder, stack)
        with contextlib.ExitStack() as readers:
            ask(options, lake, folder, readers)
        if nats:
            beside_sql(options, lake, nats, folder, stack)


def load(options, folder, stack):
    nats = free_port()
    start(stack, folder, "nats", [".tools/bin/nats-server", "--config", "config/nats.conf", "--addr", "127.0.0.1", "--port", str(nats),
                                  "--http_port", "0", "--store_dir", f"{folder}/nats"])
    listening(nats)
    with contextlib.ExitStack() as writer:
        port = serve(options, lake := f"{folder}/lake", nats, folder, writer)
        for day in range(DAYS):
            end = END - timedelta(days=DAYS - 1 - day)
            subprocess.run([f"{options.binaries}/tidemark", "demo", "--url", f"http://127.0.0.1:{port}", "--events",
                            str(options.events // DAYS), "--seed", str(day), "--end", end.isoformat(), "--batch", "2000"],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([f"{options.binaries}/tidemark", "table", "compact", *settings(lake)], check=True, stdout=subprocess.DEVNULL)
    # The others read every file that they find, also those that were merged.
    hasty = ["--set", "maintenance.keep=2s", "--set", "query.timeout=1s"]
    time.sleep(3)
    subprocess.run([f"{options.binaries}/tidemark", "table", "vacuum", *settings(lake), *hasty], check=True, stdout=subprocess.DEVNULL)
    return lake, nats


def serve(options, lake, nats, folder, stack):
    port = free_port()
    start(stack, folder, f"serve-{port}", [f"{options.binaries}/tidemark", "serve", *settings(lake),
                                           "--set", f"nats.url=nats://127.0.0.1:{nats}", "--set", f"serve.listen=127.0.0.1:{port}",
                                           "--set", "serve.admin_listen=127.0.0.1:0", "--set", "journal.max_bytes=8GiB",
                                           "--set", "journal.retention=1m"])
    ready(port)
    return port


HEAVY = [
    "SELECT user_id, path, count(DISTINCT metadata) AS n FROM events GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10",
    "SELECT count(*) FROM events a JOIN events b ON a.user_id = b.user_id WHERE a.event_name = 'purchase' AND b.event_name = 'search'",
    "SELECT event_name, regexp_replace(path, '[0-9]+', 'n') AS p, count(*) FROM events GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10",
    "SELECT sum((metadata->>'price')::double) FROM events",
]


def beside_sql(options, lake, nats, folder, stack):
    port = serve(options, lake, nats, folder, stack)
    runs = {"alone": [], "beside eight clients with heavy SQL": []}
    asked = [0, 0]

    def ask_for_much(client, stop):
        turn = client
        while not stop.is_set():
            turn += 1
            try:
                get(port, "/sql?format=json&q=" + urllib.parse.quote(HEAVY[turn % len(HEAVY)]))
                asked[0] += 1
            except OSError:  # refused for its memory, its time, or because too many run
                asked[1] += 1
                stop.wait(0.05)

    for round in range(options.rounds + 1):
        for name, times in runs.items():
            stop = threading.Event()
            clients = [threading.Thread(target=ask_for_much, args=(client, stop), daemon=True) for client in range(8 if "beside" in name else 0)]
            [client.start() for client in clients]
            text = subprocess.run([f"{options.binaries}/tidemark", "load", "--url", f"http://127.0.0.1:{port}", "--rate", "5000 for 10s",
                                   "--connections", "64", "--seed", str(round), "--json", "--no-check"], capture_output=True, text=True).stdout
            stop.set()
            [client.join(60) for client in clients]
            if round:
                times.append(json.loads(text))
    print(f"\n5,000 single-event requests a second for 10 s, fsync before each 202, {options.rounds} rounds in turns; medians with the spread. "
          f"Of the heavy statements {asked[0]} were answered and {asked[1]} refused or stopped meanwhile.\n")
    print("| | acknowledged events/s | errors | p50 ms | p99 ms |\n|---|---|---|---|---|")
    spread = lambda values: f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"
    for name, times in runs.items():
        print(f"| {name} | {spread([run['acknowledged_events_per_second'] for run in times])} | {sum(run['errors'] for run in times)} | "
              f"{spread([run['latency_ms']['p50'] for run in times])} | {spread([run['latency_ms']['p99'] for run in times])} |", flush=True)
    ratios = [after["acknowledged_events_per_second"] / before["acknowledged_events_per_second"] for before, after in zip(*runs.values())]
    print(f"\nRatio of the acknowledged events, round by round: {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f}).")


def ask(options, lake, folder, stack):
    import chdb.session
    import datafusion
    import duckdb

    files = f"{lake}/events/event_date=*/*.parquet"  # the log has Parquet files too: its checkpoints
    duck = duckdb.connect(config={"threads": 2})
    duck.execute(f"CREATE VIEW events AS SELECT *, epoch_us(timestamp) // {HOUR_US} AS hour, epoch_us(timestamp) // {24 * HOUR_US} AS day FROM read_parquet('{files}', hive_partitioning = true)")
    house = chdb.session.Session()
    house.query("SET max_threads = 2")
    house.query(f"CREATE VIEW events AS SELECT *, intDiv(toUnixTimestamp64Micro(timestamp), {HOUR_US}) AS hour, intDiv(hour, 24) AS day FROM file('{files}', Parquet)")
    plain = plain_datafusion(lake)
    ports = {}
    for name, cache in [("counted anew", "0 B"), ("kept", "256 MiB")]:
        ports[name] = free_port()
        start(stack, folder, f"query-{len(ports)}", [f"{options.binaries}/query", *settings(lake), "--set", f"query.cache={cache}",
                                                     "--set", f"query.listen=127.0.0.1:{ports[name]}", "--set", "query.admin_listen=127.0.0.1:0",
                                                     "--set", "query.pipelines=[]", "--set", "query.threads=2", "--set", "query.memory=2GiB",
                                                     "--set", "query.timeout=120s"])
        ready(ports[name])

    def metrics(name, parameters, uniques):
        first = int((END - timedelta(days=DAYS)).timestamp())
        answer = get(ports[name], f"/metrics?from={first}&to={int(END.timestamp()) - 1}.999999&uniques={uniques}&{parameters}")
        return sum(group["total_events"] for group in answer["data"]), sum(group["unique_users"] for group in answer["data"]), answer["unique_users"]

    def in_duck(key, distinct, where):
        text = f"SELECT count(*), {distinct} FROM events {where} GROUP BY {key}"
        rows, all = duck.execute(text).fetchall(), duck.execute(f"SELECT {distinct} FROM events {where}").fetchall()
        return sum(row[0] for row in rows), sum(row[1] for row in rows), all[0][0]

    def in_house(key, distinct, where):
        def rows(text):
            return [json.loads(line) for line in str(house.query(text, "JSONCompactEachRow")).splitlines()]
        grouped = rows(f"SELECT count(), {distinct} FROM events {where} GROUP BY {key}")
        return sum(int(row[0]) for row in grouped), sum(int(row[1]) for row in grouped), int(rows(f"SELECT {distinct} FROM events {where}")[0][0])

    table = []
    for title, parameters, key in METRICS:
        where = "WHERE event_name = 'purchase'" if "purchase" in parameters else ""
        for uniques in ["exact", "approx"]:
            duck_users = "count(DISTINCT user_id)" if uniques == "exact" else "approx_count_distinct(user_id)"
            house_users = "uniqExact(user_id)" if uniques == "exact" else "uniq(user_id)"
            table.append((f"{title}, {uniques}", uniques == "exact", {
                "counted anew": lambda p=parameters, u=uniques: metrics("counted anew", p, u),
                "kept": lambda p=parameters, u=uniques: metrics("kept", p, u),
                "DuckDB": lambda k=key, d=duck_users, w=where: in_duck(k, d, w),
                "chDB": lambda k=key, d=house_users, w=where: in_house(k, d, w),
            }))
    for title, ours, theirs, house_text in SQL:
        askers = {
            "counted anew": lambda t=ours: number(next(iter(get(ports["counted anew"], "/sql?format=json&q=" + urllib.parse.quote(t))[0].values()))),
            "DuckDB": lambda t=theirs or ours: number(duck.execute(t).fetchone()[0]),
            "chDB": lambda t=house_text or ours: number(json.loads(str(house.query(t, "JSONCompactEachRow")))[0]),
        }
        if "->>" not in ours:
            askers["DataFusion"] = lambda t=ours: number(next(iter(plain.sql(t).to_pylist()[0].values())))
        table.append((f"SQL: {title}", True, askers))

    total = get(ports["kept"], "/sql?format=json&q=" + urllib.parse.quote("SELECT count(*) AS n FROM events"))[0]["n"]
    parquet = glob.glob(files)
    size = sum(os.path.getsize(path) for path in parquet)
    print(f"{total:,} events of {DAYS} days, {len(parquet)} files, {size / total:.1f} bytes per event. Medians of {options.rounds} rounds in "
          f"turns, in milliseconds, with the spread; two threads each.\n{os.cpu_count()} cores ({platform.machine()}), DuckDB "
          f"{duckdb.__version__}, chDB {chdb.__version__}, DataFusion {datafusion.__version__}, commit {commit()}.\n")
    print("| question | aim | Tidemark, counted anew | Tidemark, kept | DuckDB | chDB | DataFusion | best of them / counted anew | met |\n"
          "|---|---|---|---|---|---|---|---|---|", flush=True)
    for title, must_agree, askers in table:
        report(title, must_agree, askers, options.rounds)


def report(title, must_agree, askers, rounds):
    times, answers = {name: [] for name in askers}, {}
    for round in range(rounds + 1):
        for name, asker in askers.items():
            began = time.perf_counter()
            answers[name] = asker()
            if round:  # the first one warms everybody's caches
                times[name].append((time.perf_counter() - began) * 1000)
    if must_agree and len(set(answers.values())) != 1:
        raise SystemExit(f"{title}: the answers differ: {answers}")
    if not must_agree and len({answer[0] for answer in answers.values()}) != 1:
        raise SystemExit(f"{title}: the numbers of events differ: {answers}")
    cell = lambda name: f"{statistics.median(times[name]):.1f} ({min(times[name]):.1f}-{max(times[name]):.1f})" if name in times else "-"
    peers = zip(*(times[name] for name in ["DuckDB", "chDB", "DataFusion"] if name in times))
    ratios = [min(best) / ours for ours, best in zip(times["counted anew"], peers)]
    cells = " | ".join(cell(name) for name in ["counted anew", "kept", "DuckDB", "chDB", "DataFusion"])
    aim, met = judged(title, times.get("kept"), ratio := statistics.median(ratios))
    print(f"| {title} | {aim} | {cells} | {ratio:.2f}x | {met} |", flush=True)


def judged(title, kept_ms, ratio):
    """What is wanted, of a process that was asked before and of the ratio, and whether each is so."""
    most_ms, least_ratio = (None, 0.9) if title.startswith("SQL") else (500, 1) if title.endswith("exact") else (20, 20)
    says = lambda is_met: "yes" if is_met else "**no**"
    if most_ms is None:
        return f">= {least_ratio}x", says(ratio >= least_ratio)
    return f"kept <= {most_ms} ms, >= {least_ratio}x", f"{says(statistics.median(kept_ms) <= most_ms)}, {says(ratio >= least_ratio)}"


def plain_datafusion(lake):
    import datafusion
    import pyarrow

    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(2))
    context.register_parquet("events", f"{lake}/events/", table_partition_cols=[("event_date", pyarrow.string())])
    return context


def number(value):
    return round(float(value))


def settings(lake):
    return ["--set", f"table.url={lake}"]


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=300) as answer:
        return json.load(answer)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(stack, folder, name, command):
    log = stack.enter_context(open(f"{folder}/{name}.log", "w"))
    process = subprocess.Popen(command, stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.terminate)


def ready(port):
    for _ in range(600):
        with contextlib.suppress(OSError):
            return get(port, "/readyz")
        time.sleep(0.1)
    raise SystemExit(f"nothing is ready at port {port}")


def listening(port):
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens at port {port}")


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
