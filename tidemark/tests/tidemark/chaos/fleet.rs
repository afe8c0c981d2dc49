//! Everything that runs: servers, proxies and roles.
//!
//! ```text
//! load --> ingest --proxy--> nats --proxy--> pipeline --proxy--> store <--proxy-- query <-- watcher
//! ```
//!
//! In one process the three roles share their links. Who judges goes past all proxies.

use std::{path::Path, sync::Arc, time::Duration};

use service::settings::{Settings, Sources};
use tempfile::TempDir;
use testkit::{NatsServer, Proxy, S3Server, free_port};
use tokio::sync::Mutex;

use super::{
    plan::{Link, Part, Setting},
    role::Role,
};
use crate::process::role;

/// How long anything may take to start on a busy machine.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Fleet {
    pub(crate) nats: Mutex<NatsServer>,
    pub(crate) nats_url: String,
    pub(crate) s3: Option<S3Server>,
    nats_links: [Arc<Proxy>; 2],
    store_links: Option<[Arc<Proxy>; 2]>,
    /// In the order in which an event meets them; one that is all of them when they are together.
    pub(crate) roles: Vec<Mutex<Role>>,
    pub(crate) ingest_url: String,
    pub(crate) query_url: String,
    /// What who judges needs to open the journal and the table.
    pub(crate) direct: Vec<String>,
    pub(crate) client: reqwest::Client,
    pub(crate) folder: TempDir,
}

impl Fleet {
    /// Starts all of it and waits until every role is ready.
    pub(crate) async fn start(setting: Setting) -> Self {
        let (nats, folder) = (NatsServer::start().await, TempDir::new().unwrap());
        let s3 = if setting.is_on_s3 { Some(S3Server::start().await) } else { None };
        let nats_address = nats.url().trim_start_matches("nats://").to_owned();
        let nats_links = two_links(setting, || Proxy::tcp(&nats_address));
        let store_links = s3.as_ref().map(|s3| two_links(setting, || Proxy::http(s3.endpoint().trim_start_matches("http://"))));
        let mut fleet = Self {
            nats_url: nats.url(),
            direct: shared_settings(setting, &nats, &folder),
            nats: Mutex::new(nats),
            s3,
            nats_links,
            store_links,
            roles: Vec::new(),
            ingest_url: String::new(),
            query_url: String::new(),
            client: reqwest::Client::builder().timeout(Duration::from_secs(15)).build().unwrap(),
            folder,
        };
        let direct = [format!("nats.url={}", fleet.nats_url)].into_iter().chain(fleet.s3.as_ref().map(|s3| endpoint(&s3.endpoint())));
        fleet.direct.extend(direct);
        if setting.is_together {
            fleet.start_together()
        } else {
            fleet.start_apart()
        }
        for role in &fleet.roles {
            role.lock().await.ready(&fleet.client, START_DEADLINE).await;
        }
        fleet
    }

    fn start_together(&mut self) {
        let (listen, admin) = (free_address(), free_address());
        let own = [format!("serve.listen={listen}"), format!("serve.admin_listen={admin}")];
        let serve = self.role("serve", Path::new(env!("CARGO_BIN_EXE_tidemark")), &own, &admin, 0);
        (self.ingest_url, self.query_url) = (format!("http://{listen}"), format!("http://{listen}"));
        self.roles = vec![Mutex::new(serve)];
    }

    fn start_apart(&mut self) {
        let (ingest, query) = (free_address(), free_address());
        let admins = [free_address(), free_address(), free_address()];
        (self.ingest_url, self.query_url) = (format!("http://{ingest}"), format!("http://{query}"));
        let own = |name: &str, admin: &str| format!("{name}.admin_listen={admin}");
        let ingest = [format!("ingest.listen={ingest}"), own("ingest", &admins[0])];
        let query = [format!("query.listen={query}"), format!("query.pipelines=http://{}", admins[1]), own("query", &admins[2])];
        self.roles = vec![
            Mutex::new(self.role("ingest", &role("ingest"), &ingest, &admins[0], 0)),
            Mutex::new(self.role("pipeline", &role("pipeline"), &[own("pipeline", &admins[1])], &admins[1], 1)),
            Mutex::new(self.role("query", &role("query"), &query, &admins[2], 0)),
        ];
    }

    /// A role behind the proxies; `link` chooses among those of its kind.
    fn role(&self, name: &'static str, path: &Path, own: &[String], admin: &str, link: usize) -> Role {
        let mut settings = [&self.direct, own].concat();
        settings.push(format!("nats.url=nats://{}", self.nats_links[link].address()));
        settings.extend(self.store_links.as_ref().map(|links| endpoint(&format!("http://{}", links[link].address()))));
        let command: &[&str] = if name == "serve" { &["serve"] } else { &[] };
        Role::start(name, path.to_owned(), command, &settings, self.folder.path().to_owned(), format!("http://{admin}"))
    }

    /// Another pipeline on the same shards, past all proxies.
    pub(crate) fn start_second_pipeline(&self) -> Role {
        let admin = free_address();
        let mut settings = self.direct.clone();
        settings.push(format!("pipeline.admin_listen={admin}"));
        Role::start("second", role("pipeline"), &[], &settings, self.folder.path().to_owned(), format!("http://{admin}"))
    }

    /// The process that plays a part.
    pub(crate) fn part(&self, part: Part) -> &Mutex<Role> {
        let index = match part {
            Part::Ingest => 0,
            Part::Pipeline => 1,
            Part::Query => 2,
        };
        self.roles.get(index).unwrap_or(&self.roles[0])
    }

    /// The proxy on a link.
    ///
    /// # Panics
    /// When the store is a folder.
    pub(crate) fn link(&self, link: Link) -> &Proxy {
        match link {
            Link::IngestToNats => &self.nats_links[0],
            Link::PipelineToNats => &self.nats_links[1],
            Link::PipelineToStore => &self.store_links()[1],
        }
    }

    /// All proxies before the store: the query's and the pipeline's.
    pub(crate) fn store_links(&self) -> &[Arc<Proxy>] {
        self.store_links.as_ref().map(<[_; 2]>::as_slice).unwrap_or_default()
    }

    /// Looks after every role that no fault has in hand.
    pub(crate) async fn tend(&self) {
        for role in &self.roles {
            if let Ok(mut role) = role.try_lock() {
                role.tend(&self.client).await;
            }
        }
    }

    /// Ends every trouble that a fault may have left.
    pub(crate) fn heal(&self) {
        for link in self.nats_links.iter().chain(self.store_links()) {
            link.forget_rules();
            link.pass();
        }
    }

    /// The settings that go past all proxies.
    pub(crate) fn settings(&self) -> Settings {
        let pairs = self.direct.iter().map(|setting| setting.split_once('=').unwrap());
        let flags = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Settings::load(Sources { file: None, environment: Vec::new(), flags }).unwrap()
    }

    /// Where DuckDB finds a table.
    pub(crate) fn location(&self, table: &str) -> String {
        match self.s3 {
            Some(_) => format!("s3://tidemark/lake/{table}"),
            None => self.folder.path().join("lake").join(table).display().to_string(),
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the ledger and all logs are in {}", self.folder.path().display());
        }
    }
}

fn two_links(setting: Setting, link: impl Fn() -> Proxy) -> [Arc<Proxy>; 2] {
    let first = Arc::new(link());
    let second = if setting.is_together { Arc::clone(&first) } else { Arc::new(link()) };
    [first, second]
}

fn shared_settings(setting: Setting, nats: &NatsServer, folder: &TempDir) -> Vec<String> {
    let mut settings = vec![
        format!("nats.monitoring_url={}", nats.monitoring_url()),
        format!("journal.shards={}", setting.shards),
        // Shorter than a stall lasts, so that outcomes become unknown.
        "journal.publish_timeout=2s".to_owned(),
        "pipeline.max_age=700ms".to_owned(),
        // The table is merged and its old files are deleted all the time.
        "maintenance.interval=500ms".to_owned(),
        "maintenance.grace=0s".to_owned(),
        "maintenance.keep=1m".to_owned(),
        format!("journal.max_bytes={} GiB", setting.journal_gib),
    ];
    if setting.is_on_s3 {
        let s3 = ["url=s3://tidemark/lake", "s3.access_key_id=testkit", "s3.secret_access_key=testkit-secret", "s3.allow_http=true"];
        settings.extend(s3.map(|setting| format!("table.{setting}")));
    } else {
        settings.push(format!("table.url={}", folder.path().join("lake").display()));
    }
    settings
}

fn endpoint(url: &str) -> String {
    format!("table.s3.endpoint={url}")
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}
