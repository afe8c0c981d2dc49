//! The command line: one type for each command.

use clap::{Parser, Subcommand};
use service::process::SettingArgs;

use crate::{
    config::ConfigCommand, demo::DemoOptions, doctor::DoctorOptions, erase::EraseOptions, import::ImportOptions, journal::JournalCommand,
    keys::KeysCommand, load::LoadOptions, metrics::MetricsOptions, quarantine::QuarantineCommand, replay::ReplayOptions, sql::SqlOptions,
    table::TableCommand, verify::VerifyOptions,
};

/// Product and web analytics events: in over HTTP, durable in NATS JetStream, kept as Parquet in a Delta table, asked by metrics and SQL.
#[derive(Parser)]
#[command(name = "tidemark", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run ingest, pipeline and query in this process, on one port.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve,
    /// Send a day of realistic events to a running Tidemark and show what it counts.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoOptions),
    /// Send the events of files to a running Tidemark: NDJSON, JSON, CSV, Parquet, also compressed; a second time adds nothing.
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Box<ImportOptions>),
    /// Send requests at fixed times, tell how long each took from the time it was meant to be sent, and count what was acknowledged.
    #[command(after_help = LOAD_EXAMPLES)]
    Load(Box<LoadOptions>),
    /// Ask a running Tidemark questions in SQL: one, a script, or in a shell.
    #[command(after_help = SQL_EXAMPLES)]
    Sql(SqlOptions),
    /// Ask a running Tidemark how much happened, and draw it: events and users by hour, channel and so on.
    #[command(after_help = METRICS_EXAMPLES)]
    Metrics(Box<MetricsOptions>),
    /// Prove that every accepted event is a row, a repeat of one, or in quarantine; exit code 1 if not.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyOptions),
    /// Write again what the table has lost and the journal still has: rows that are gone, files that are missing or damaged.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayOptions),
    /// Look at every dependency and setting and say what to do; exit code 1 if something has to be done.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorOptions),
    /// Take events out of the table for good, and print a receipt.
    #[command(after_help = ERASE_EXAMPLES)]
    Erase(EraseOptions),
    /// Look at what the tables are made of, and keep them small by hand.
    #[command(after_help = TABLE_EXAMPLES)]
    Table {
        #[command(subcommand)]
        command: TableCommand,
    },
    /// Look at the journal's streams, or let the tables go on with streams that they refuse.
    #[command(after_help = JOURNAL_EXAMPLES)]
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Give what was durable but no event another try.
    #[command(after_help = QUARANTINE_EXAMPLES)]
    Quarantine {
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Make, list and revoke API keys.
    #[command(after_help = KEYS_EXAMPLES)]
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Check or show the settings in force.
    #[command(after_help = CONFIG_EXAMPLES)]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Ask a running Tidemark whether it is ready; exit code 1 if it is not.
    #[command(after_help = "Example:\n  tidemark health --url http://127.0.0.1:8080/readyz")]
    Health {
        /// The readiness address to ask; `/readyz` of `serve.listen` unless given.
        #[arg(long)]
        url: Option<String>,
    },
}

const EXAMPLES: &str = "\
Examples:
  tidemark serve                                     everything on http://127.0.0.1:8080, table in ./data/lake
  tidemark demo                                      100,000 events of one day, then a few metrics
  tidemark load                                      1,000 requests a second for 10 s: latencies, and all of them counted
  tidemark sql                                       questions in SQL, in a shell
  tidemark metrics --group-by hour                   events of the last 24 hours, as a chart
  tidemark verify                                    journal and tables compared, position by position
  tidemark config show                               every setting, its value and where it came from";

const SERVE_EXAMPLES: &str = "\
Examples:
  tidemark serve
  tidemark serve --config tidemark.toml --set serve.listen=127.0.0.1:9090
  TIDEMARK__TABLE__URL=s3://events/lake TIDEMARK__TABLE__S3__ENDPOINT=http://127.0.0.1:9000 \\
    TIDEMARK__TABLE__S3__ALLOW_HTTP=true tidemark serve

NATS with JetStream must run at `nats.url` (default nats://127.0.0.1:4222); `./justw up` starts both.";

const DEMO_EXAMPLES: &str = "\
Examples:
  tidemark demo
  tidemark demo --events 1000000 --seed 7
  tidemark demo --url http://127.0.0.1:9090";

const IMPORT_EXAMPLES: &str = "\
Examples:
  tidemark import events.ndjson.gz
  tidemark import --dry-run --rejects wrong.ndjson old/*.csv
  tidemark import --resume import.state big.parquet
  zcat logs/*.gz | tidemark import -

Events pass the door like all others, and what is there already adds nothing, so an import that was stopped is simply run again.
Columns of CSV and Parquet have the names of the fields of an event; all others become members of metadata.";

const LOAD_EXAMPLES: &str = "\
Examples:
  tidemark load
  tidemark load --rate \"2000 for 30s, 20000 for 30s\" --connections 600 --fail-if \"p95 > 100ms, p99 > 200ms, errors > 0, dropped > 0\"
  tidemark load --rate \"max for 60s\" --connections 250
  tidemark load --rate \"2000 for 10m\" --span 5m --repeats 2              events that happen while they are sent, some late, some twice
  tidemark load --rate \"200 for 1m\" --batch 1000 --ids uuid --repeats 5 --html report.html
  tidemark load --rate \"max for 1h\" --requests 5000 --ids same          what `hey -n 5000 -c 100` sends: one event, again and again
  tidemark load --url http://127.0.0.1:9000/other --no-check --json     any other server

A latency counts from the time at which the request was meant to be sent, so a server that stalls delays nothing but its own answers.
`max` sends without a schedule: it tells the capacity, and its latencies are those of a server that is never asked too early.
The exit code is 1 when SQL does not count exactly what was acknowledged, when nothing was, or when a threshold is crossed. Ctrl-C ends a run early.";

const SQL_EXAMPLES: &str = "\
Examples:
  tidemark sql
  tidemark sql \"SELECT event_name, count(*) AS events FROM events GROUP BY 1 ORDER BY 2 DESC\"
  tidemark sql --format csv \"SELECT timestamp, user_id, metadata->>'currency' AS currency FROM events LIMIT 10\"
  tidemark sql < questions.sql

The shell completes names with Tab, keeps a history, and cancels a query on the server with Ctrl-C; \\? shows its commands.
Several statements on standard input are separated by `;`; the first that fails ends the command with exit code 1.";

const METRICS_EXAMPLES: &str = "\
Examples:
  tidemark metrics --group-by hour
  tidemark metrics --event-name purchase --group-by channel --from -7d
  tidemark metrics --group-by day --from -30d --tz Europe/Berlin
  tidemark metrics --group-by day,channel --from 2026-11-01T00:00:00Z --json

On a terminal the answer is a chart, elsewhere a table without colours.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  tidemark verify
  tidemark verify --shard 0
  tidemark verify --json | jq '.shards[] | {shard, accepted, rows, duplicates, quarantined}'

It reads the journal at `nats.url` and the tables at `table.url`, with the settings of the server, which may run meanwhile.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  tidemark replay --dry-run
  tidemark replay
  tidemark replay --from 0:1234 --to 0:5678
  tidemark replay --from -2h --json

It reads the journal at `nats.url` and the tables at `table.url`, with the settings of the server, which may run meanwhile or not. Rows that
are there are not written again, and what was erased or given up stays away. The journal has what was committed in the last
`journal.retention`. When a damaged file holds rows that are older, nothing is changed: put it back from a copy of the bucket, or say
`--give-up-rows`. Run `tidemark verify` before and after.";

const ERASE_EXAMPLES: &str = "\
Examples:
  tidemark erase --user u-4711 --dry-run
  tidemark erase --user u-4711
  tidemark erase --where \"site_id = 'staging' AND timestamp < '2026-01-01'\" --json

A running Tidemark finds the rows; the files are written anew by this command, with the settings of the server. Queries stop seeing the
rows at once. The old files go when `maintenance.keep` has passed, the journal forgets when `journal.retention` has.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  tidemark doctor
  tidemark doctor --canary
  tidemark doctor --json | jq '.findings[] | select(.level == \"problem\")'

Give it the settings of the server. It works before the first start, too, and creates nothing. The exit code is 0 when there is no problem;
warnings do not change it.";

const TABLE_EXAMPLES: &str = "\
Examples:
  tidemark table status
  tidemark table compact --dry-run
  tidemark table vacuum
  tidemark table status --json | jq '{rows: .events.rows, small: .events.small_files, shards}'

It reads the tables at `table.url` and asks the journal at `nats.url` how far it is, with the settings of the server, which may run
meanwhile or not.";

const JOURNAL_EXAMPLES: &str = "\
Examples:
  tidemark journal status
  tidemark journal adopt --dry-run
  tidemark journal adopt --yes

A table refuses a stream that was deleted and created again, restored from an older backup, or cut. If you have its files, restore them.
If not, stop every process of Tidemark and adopt the stream that is there: nothing that it holds is lost, and nothing is counted twice.";

const QUARANTINE_EXAMPLES: &str = "\
Examples:
  tidemark sql \"SELECT code, count(*), min(message) FROM quarantine GROUP BY code\"
  tidemark quarantine replay --dry-run
  tidemark quarantine replay --where \"code = 'timestamp_in_future' AND received_at > now() - interval '1 day'\"";

const KEYS_EXAMPLES: &str = "\
Examples:
  tidemark keys new --scope ingest --name web
  tidemark keys new --scope ingest,query --name partner --expires-in 90days --events-per-second 500
  tidemark keys list
  tidemark keys revoke 1f0c9a3e";

const CONFIG_EXAMPLES: &str = "\
Examples:
  tidemark config show
  tidemark config check --config tidemark.toml
  TIDEMARK__PIPELINE__MAX_AGE=5s tidemark config show";
