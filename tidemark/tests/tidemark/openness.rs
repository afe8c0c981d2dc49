//! Others read the table without Tidemark, while it is written and merged: DuckDB and Polars through its log, and both of them every
//! Parquet file as it lies there. All get the numbers that `tidemark sql` gives.
//!
//! Numbers are compared up to a sequence that all can name: whoever sees a row sees every row before it, as a commit has all of them,
//! and nothing changes them later.

use std::time::Duration;

use testkit::{NatsServer, S3Server, until};

use self::{load::Load, numbers::Numbers, polars::Polars};
use crate::{
    duckdb,
    process::{Tidemark, good},
};

mod load;
mod numbers;
mod polars;

/// Commits and merges all the time. What was replaced stays, until the test asks for its end.
const BUSY: [&str; 4] = ["pipeline.max_idle=20ms", "pipeline.max_age=100ms", "maintenance.interval=200ms", "maintenance.grace=0s"];
/// Everything that was replaced a moment ago may go.
const HASTY: [&str; 4] = ["--set", "maintenance.keep=2s", "--set", "query.timeout=1s"];
const ROUNDS: usize = 3;
/// So many merges happen at least while the others read.
const MERGES: usize = 3;
const DEADLINE: Duration = Duration::from_secs(240);

#[tokio::test]
async fn duckdb_polars_and_plain_parquet_give_our_numbers_during_commits_and_merges_on_a_folder() {
    others_give_our_numbers(None).await;
}

#[tokio::test]
async fn duckdb_polars_and_plain_parquet_give_our_numbers_during_commits_and_merges_on_s3() {
    others_give_our_numbers(Some(&S3Server::start().await)).await;
}

async fn others_give_our_numbers(s3: Option<&S3Server>) {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start_at(&nats, s3, &BUSY).await;
    let load = Load::start(&tidemark.url);
    tidemark.says("SELECT count(*) > 0 FROM events_committed", "true").await;
    let mut others = Others::of(&tidemark, s3);
    let (before, mut rounds) = (merges(&tidemark), 0);
    until("rounds of reading and merges beside them", DEADLINE, || {
        others.agree();
        rounds += 1;
        std::future::ready((rounds >= ROUNDS && merges(&tidemark) >= before + MERGES).then_some(()))
    })
    .await;

    let sent = load.end();
    tidemark.says("SELECT count(*) FROM events_committed", &sent.to_string()).await;
    let all = others.agree();
    assert_eq!(all.rows(), sent);
    assert!(others.duckdb(Way::Plain).rows() > sent, "files that were replaced are still there");
    let vacuumed = async || {
        good(&tidemark.command(&["table", "vacuum"]).args(HASTY).output().unwrap());
        (others.duckdb(Way::Plain) == all).then_some(())
    };
    until("plain files to be the table", DEADLINE, vacuumed).await;
    assert_eq!(others.polars(Way::Plain), all);
}

fn merges(tidemark: &Tidemark) -> usize {
    tidemark.log().lines().filter(|line| line.contains("merged") && line.contains("from_bytes")).count()
}

/// How a reader finds the rows.
#[derive(Clone, Copy)]
enum Way {
    /// Through the log.
    Delta,
    /// Every Parquet file in the folders of the days: the rows up to this sequence, each place once.
    Files(u64),
    /// Every Parquet file as it lies there.
    Plain,
}

/// DuckDB and Polars, and Tidemark, which they must agree with.
struct Others<'a> {
    tidemark: &'a Tidemark,
    s3: Option<&'a S3Server>,
    location: String,
    polars: Polars,
    /// What anybody has seen, everybody sees.
    seen_up_to: u64,
}

impl<'a> Others<'a> {
    fn of(tidemark: &'a Tidemark, s3: Option<&'a S3Server>) -> Self {
        let location = tidemark.location(s3, "events");
        Self { tidemark, s3, polars: Polars::start(&location, s3), location, seen_up_to: 0 }
    }

    /// Reads once in each way and compares; what the last one through the log saw.
    fn agree(&mut self) -> Numbers {
        let committed = self.tidemark.sql("SELECT max(_sequence) FROM events_committed").parse().unwrap();
        self.seen_up_to = self.seen_up_to.max(committed);
        let by_duckdb = self.duckdb(Way::Delta);
        self.is_ours("DuckDB", &by_duckdb);
        let by_polars = self.polars(Way::Delta);
        let ours = self.is_ours("Polars", &by_polars);
        let files = Way::Files(ours.up_to());
        assert_eq!(self.duckdb(files), ours, "DuckDB over the files");
        assert_eq!(self.polars(files), ours, "Polars over the files");
        ours
    }

    /// Nothing that was seen before is missing, no place is there twice, and every number is ours.
    fn is_ours(&mut self, reader: &str, theirs: &Numbers) -> Numbers {
        assert!(theirs.up_to() >= self.seen_up_to, "{reader} sees {}, and {} was seen before", theirs.up_to(), self.seen_up_to);
        self.seen_up_to = theirs.up_to();
        let ours = Numbers::of_csv(&self.tidemark.rows(&numbers::statement(theirs.up_to())));
        assert!(ours.has_each_place_once(), "{ours:?}");
        assert_eq!(*theirs, ours, "{reader}");
        ours
    }

    fn duckdb(&self, way: Way) -> Numbers {
        let files = format!("read_parquet('{}/event_date=*/*.parquet', hive_partitioning = true)", self.location);
        let source = match way {
            Way::Delta => format!("delta_scan('{}')", self.location),
            Way::Files(_) => format!("(SELECT DISTINCT ON (_shard, _sequence, _index) * FROM {files})"),
            Way::Plain => files,
        };
        let up_to = if let Way::Files(up_to) = way { up_to } else { numbers::END };
        Numbers::of_csv(&duckdb::rows_of(&source, "events", self.s3, &numbers::statement(up_to)))
    }

    fn polars(&self, way: Way) -> Numbers {
        Numbers::of_json(&match way {
            Way::Delta => self.polars.ask("delta"),
            Way::Files(up_to) => self.polars.ask(&format!("files {up_to}")),
            Way::Plain => self.polars.ask("plain"),
        })
    }
}
