//! Makes faults happen, and makes sure that they did: each gives the evidence that it was met, or says that it was not.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures::StreamExt;
use object_store::ObjectStore;
use schemas::ShardId;
use table::{Store, Table};
use testkit::{Outcome, Rule, pause, until};
use tokio::sync::RwLock;

use super::{
    fleet::{Fleet, START_DEADLINE},
    ledger::Ledger,
    plan::{BEFORE_RELEASE, Fault, Link, Part, Plan, Step},
    role::Role,
};

/// How long a trap waits for its victim under load, other faults included.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a killed part may take until a new event is counted, on a machine that has all other tests to run.
const BACK_DEADLINE: Duration = Duration::from_secs(120);
/// The object that is a commit.
const COMMIT: &[&str] = &["_delta_log/", ".json"];

/// A fault that is over.
pub(crate) struct Happened {
    pub(crate) fault: Fault,
    pub(crate) at: Duration,
    /// What was seen of it, or that it was not seen.
    pub(crate) evidence: Result<String, String>,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Ok(evidence) | Err(evidence)) = &self.evidence;
        write!(f, "{:6.1} s  {:?}: {evidence}", self.at.as_secs_f64(), self.fault)
    }
}

/// Plays the decks of a plan on a fleet.
pub(crate) struct Troublemaker<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) plan: &'a Plan,
    ledger: &'a Ledger,
    pub(crate) started: Instant,
    /// Held alone by a fault that needs all else to work.
    alone: RwLock<()>,
}

impl<'a> Troublemaker<'a> {
    pub(crate) fn new(fleet: &'a Fleet, plan: &'a Plan, ledger: &'a Ledger) -> Self {
        Self { fleet, plan, ledger, started: Instant::now(), alone: RwLock::new(()) }
    }

    /// All decks side by side, until each was played and the time is over.
    pub(crate) async fn run(&self) -> Vec<Happened> {
        let decks = (0..self.plan.decks.len()).map(|deck| self.play(deck));
        let (happened, ()) = futures::join!(futures::future::join_all(decks), pause(self.plan.length));
        happened.into_iter().flatten().collect()
    }

    async fn play(&self, deck: usize) -> Vec<Happened> {
        let mut happened = Vec::new();
        for game in 0.. {
            for Step { pause: before, fault, lasts } in self.plan.deal(deck, game) {
                pause(before).await;
                let at = self.started.elapsed();
                let evidence = self.make(fault, lasts).await;
                happened.push(Happened { fault, at, evidence });
            }
            if self.started.elapsed() >= self.plan.length {
                break;
            }
        }
        happened
    }

    async fn make(&self, fault: Fault, lasts: Duration) -> Result<String, String> {
        if fault == Fault::Fence {
            let _alone = self.alone.write().await;
            return self.fence().await;
        }
        let _shared = self.alone.read().await;
        match fault {
            Fault::KillNats => self.kill_nats(lasts).await,
            Fault::Kill(part) => self.kill(part, lasts).await,
            Fault::DieAt(point) => self.die_at(point).await,
            Fault::Cut(link) => self.cut(link, lasts).await,
            Fault::Stall(link) => self.stall(link, lasts).await,
            Fault::Commit(outcome) => self.trick(outcome).await,
            Fault::StoreDown => self.store_down(lasts).await,
            Fault::StoreSlow => self.store_slow(lasts).await,
            Fault::TerminateAll => self.terminate_all(lasts).await,
            Fault::Fence => unreachable!("it is made alone"),
        }
    }

    async fn kill_nats(&self, lasts: Duration) -> Result<String, String> {
        let mut nats = self.fleet.nats.lock().await;
        nats.kill();
        pause(lasts).await;
        nats.restart().await;
        self.back(&format!("away for {lasts:?}"), Instant::now()).await
    }

    async fn kill(&self, part: Part, lasts: Duration) -> Result<String, String> {
        let mut role = self.fleet.part(part).lock().await;
        let ran = role.kill();
        pause(lasts).await;
        let restarted = Instant::now();
        role.restart();
        let took = role.ready(&self.fleet.client, START_DEADLINE).await;
        seen(ran, String::new(), "it did not run")?;
        self.back(&format!("ready again after {took:?}"), restarted).await
    }

    /// Lets one commit pass, so that the point is met in the middle of the work. A process that cannot start, because another fault has its
    /// store or its broker, is started again; one that ends later at any other place is not.
    async fn die_at(&self, point: &str) -> Result<String, String> {
        let mut role = self.fleet.part(Part::Pipeline).lock().await;
        let deaths = |role: &Role| role.log().matches(&format!("failpoint `{point}` is reached")).count();
        let begins = |role: &Role| role.log().matches("reading on from the table's tidemark").count();
        let (deaths_before, begins_before) = (deaths(&role), begins(&role));
        let arm = |role: &mut Role| {
            if point == BEFORE_RELEASE {
                role.restart_armed(&format!("{point}:1"), &["journal.retention=0s"]);
            } else {
                role.restart_armed(&format!("{point}:2"), &[]);
            }
        };
        role.kill();
        arm(&mut role);
        let has_died = met(|| {
            if role.may_start_again() && begins(&role) == begins_before {
                arm(&mut role);
            }
            role.has_aborted()
        });
        let has_died = has_died.await && deaths(&role) > deaths_before;
        role.end();
        let restarted = Instant::now();
        role.restart();
        let took = role.ready(&self.fleet.client, START_DEADLINE).await;
        seen(has_died, String::new(), "it did not die there")?;
        self.back(&format!("it died there, ready again after {took:?}"), restarted).await
    }

    /// Where the plan wants that: how long until an event that was sent after now is acknowledged and in a fresh answer. That it
    /// comes without a hand is asserted; how soon is told, because a busy machine takes what it takes.
    async fn back(&self, evidence: &str, restarted: Instant) -> Result<String, String> {
        if !self.plan.is_timed {
            return Ok(evidence.to_owned());
        }
        let acknowledged = || self.ledger.counts().acknowledged;
        let before = acknowledged();
        met(|| acknowledged() > before).await;
        let positions = self.ledger.latest_positions().unwrap_or_default();
        let url = format!("{}/metrics?from=0&to=4000000000&uniques=approx&at_least={positions}", self.fleet.query_url);
        until("a fresh answer with an event that was sent after the crash", BACK_DEADLINE, async || {
            let answer = self.fleet.client.get(&url).send().await.ok()?.error_for_status().ok()?;
            answer.json::<serde_json::Value>().await.ok().filter(|answer| answer["fresh"] == true)
        })
        .await;
        Ok(format!("{evidence}; a new event was counted {:?} after the restart", restarted.elapsed()))
    }

    async fn cut(&self, link: Link, lasts: Duration) -> Result<String, String> {
        let proxy = self.fleet.link(link);
        let troubles = || proxy.seen().cut + proxy.seen().refused;
        let before = troubles();
        proxy.cut();
        pause(lasts).await;
        let is_met = met(|| troubles() > before).await;
        proxy.pass();
        seen(is_met, format!("{} connections ended in {lasts:?}", troubles() - before), "nobody used the link")
    }

    async fn stall(&self, link: Link, lasts: Duration) -> Result<String, String> {
        let proxy = self.fleet.link(link);
        let before = proxy.seen().stalled;
        proxy.stall();
        pause(lasts).await;
        let is_met = met(|| proxy.seen().stalled > before).await;
        proxy.pass();
        seen(is_met, format!("{} pieces kept for {lasts:?}", proxy.seen().stalled - before), "nobody used the link")
    }

    /// The next commit meets the trick.
    async fn trick(&self, outcome: Outcome) -> Result<String, String> {
        let proxy = self.fleet.link(Link::PipelineToStore);
        let before = proxy.seen().ruled;
        proxy.add(Rule { method: "PUT", path: COMMIT, one_in: 1, times: 1, outcome });
        let is_met = met(|| proxy.seen().ruled > before).await;
        proxy.forget_rules();
        seen(is_met, "met by a commit".to_owned(), "no commit came")
    }

    async fn store_down(&self, lasts: Duration) -> Result<String, String> {
        let proxies = self.fleet.store_links();
        let troubles = || proxies.iter().map(|proxy| proxy.seen().cut + proxy.seen().refused).sum::<u64>();
        let before = troubles();
        proxies.iter().for_each(|proxy| proxy.cut());
        pause(lasts).await;
        let is_met = met(|| troubles() > before).await;
        proxies.iter().for_each(|proxy| proxy.pass());
        seen(is_met, format!("{} connections ended in {lasts:?}", troubles() - before), "nobody asked the store")
    }

    async fn store_slow(&self, lasts: Duration) -> Result<String, String> {
        let proxy = self.fleet.link(Link::PipelineToStore);
        let before = proxy.seen().ruled;
        let failing = Outcome::Answer { status: 503, is_executed: false };
        proxy.add(Rule { method: "", path: &[], one_in: 20, times: u32::MAX, outcome: failing });
        proxy.add(Rule { method: "", path: &[], one_in: 1, times: u32::MAX, outcome: Outcome::Delay(Duration::from_millis(100)) });
        pause(lasts).await;
        let is_met = met(|| proxy.seen().ruled > before).await;
        proxy.forget_rules();
        seen(is_met, format!("{} requests slow or failed in {lasts:?}", proxy.seen().ruled - before), "nobody asked the store")
    }

    async fn terminate_all(&self, lasts: Duration) -> Result<String, String> {
        let mut roles = futures::future::join_all(self.fleet.roles.iter().map(|role| role.lock())).await;
        for role in &mut roles {
            role.ready(&self.fleet.client, START_DEADLINE).await;
        }
        let started = Instant::now();
        let ends = futures::future::join_all(roles.iter_mut().map(|role| role.terminate())).await;
        let took = started.elapsed();
        pause(lasts).await;
        roles.iter_mut().for_each(|role| role.restart());
        for role in &mut roles {
            role.ready(&self.fleet.client, START_DEADLINE).await;
        }
        let all_good = ends.iter().all(std::process::ExitStatus::success);
        seen(all_good, format!("all ended well within {took:?}"), &format!("not all ended well: {ends:?}"))
    }

    /// Stops the pipeline, in the middle of a commit where the store can be told to wait; lets a second one commit; wakes the first.
    async fn fence(&self) -> Result<String, String> {
        let mut first = self.fleet.part(Part::Pipeline).lock().await;
        first.ready(&self.fleet.client, START_DEADLINE).await;
        let fenced_before = fences(&first.log());
        let is_in_a_commit = self.stop_in_a_commit(&mut first).await;
        let tidemark = self.tidemarks().await;
        let mut second = self.fleet.start_second_pipeline();
        second.ready(&self.fleet.client, START_DEADLINE).await;
        // Foreign messages come past a door that is stopped too.
        until("the second pipeline to commit", PATIENCE, async || self.tidemarks().await.gt(&tidemark).then_some(())).await;
        first.signal("CONT");
        self.fleet.store_links().iter().for_each(|proxy| proxy.pass());
        let is_fenced = met(|| fences(&first.log()) > fenced_before).await;
        let is_well = second.terminate().await.success();
        seen(
            is_in_a_commit && is_fenced && is_well,
            "stopped in a commit, noticed that it was fenced".to_owned(),
            &format!("in a commit: {is_in_a_commit}, the first noticed: {is_fenced}, the second ended well: {is_well}"),
        )
    }

    /// Stops the pipeline while its commit is on the way to S3; or, on a folder, between its files and its commit.
    async fn stop_in_a_commit(&self, pipeline: &mut Role) -> bool {
        if self.plan.setting.is_on_s3 {
            let is_held = self.trick(Outcome::Stall).await.is_ok();
            pipeline.signal("STOP");
            return is_held;
        }
        pipeline.kill();
        pipeline.restart_armed("events-written:2:stop", &[]);
        met(|| pipeline.is_stopped()).await
    }

    /// The tidemark of every shard in the table.
    async fn tidemarks(&self) -> Vec<u64> {
        tidemarks(self.fleet, self.plan.setting.shards).await
    }
}

/// The tidemark of every shard in the table, read past all proxies.
pub(crate) async fn tidemarks(fleet: &Fleet, shards: u16) -> Vec<u64> {
    let store = Store::open(&fleet.settings().section("table").unwrap()).await.unwrap();
    let table = Table::open(&store, "events").await.unwrap().expect("the pipeline has created it");
    let snapshot = table.snapshot().await.unwrap();
    (0..shards).map(|shard| snapshot.tidemark(ShardId(shard)).0).collect()
}

/// How many Parquet files of `events` are in the store and in no version of the table.
pub(crate) async fn orphans(fleet: &Fleet) -> usize {
    let store = Store::open(&fleet.settings().section("table").unwrap()).await.unwrap();
    let table = Table::open(&store, "events").await.unwrap().expect("the pipeline has created it");
    let committed = table.snapshot().await.unwrap().files().len();
    let stored = store.object_store().list(Some(&"events".into())).map(|object| object.unwrap().location);
    let stored = stored.filter(|path| std::future::ready(path.extension() == Some("parquet"))).count().await;
    stored - committed
}

fn fences(log: &str) -> usize {
    log.matches("fenced").count()
}

/// Waits until a fault has met somebody.
async fn met(mut has_met: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !has_met() && started.elapsed() < PATIENCE {
        pause(Duration::from_millis(5)).await;
    }
    has_met()
}

fn seen(is_seen: bool, evidence: String, otherwise: &str) -> Result<String, String> {
    if is_seen { Ok(evidence) } else { Err(format!("NOT SEEN, {otherwise}")) }
}
