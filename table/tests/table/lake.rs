//! A lake of one test: a temporary folder, or a bucket of its own on a SeaweedFS shared by the tests that run at the same time.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU32, Ordering},
};

use schemas::tables;
use table::{Config, S3Config, Store, Table};
use tempfile::TempDir;
use testkit::S3Server;
use tokio::sync::Mutex;

pub(crate) struct Lake {
    pub(crate) config: Config,
    _place: Place,
}

enum Place {
    Folder(#[expect(dead_code, reason = "removed on drop")] TempDir),
    S3(#[expect(dead_code, reason = "stopped on drop of the last")] Arc<S3Server>),
}

impl Lake {
    pub(crate) fn folder() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = dir.path().join("data/lake").display().to_string();
        let s3 = S3Config {
            endpoint: String::new(),
            region: String::new(),
            access_key_id: String::new(),
            secret_access_key: String::new(),
            allow_http: false,
            create_bucket: false,
        };
        Self { config: Config { url, s3 }, _place: Place::Folder(dir) }
    }

    pub(crate) async fn s3() -> Self {
        static BUCKETS: AtomicU32 = AtomicU32::new(0);
        let server = shared_server().await;
        let bucket = format!("lake-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        Self { config: on_server(&server, &bucket), _place: Place::S3(server) }
    }

    pub(crate) async fn store(&self) -> Store {
        Store::open(&self.config).await.unwrap()
    }

    /// The table `events`, through a store of its own: another process, as it were.
    pub(crate) async fn events(&self) -> Table {
        Table::open_or_create(&self.store().await, "events", tables::events()).await.unwrap()
    }
}

/// A lake in a bucket of a server, created when missing.
pub(crate) fn on_server(server: &S3Server, bucket: &str) -> Config {
    let s3 = S3Config {
        endpoint: server.endpoint(),
        region: "us-east-1".to_owned(),
        access_key_id: server.access_key().to_owned(),
        secret_access_key: server.secret_key().to_owned(),
        allow_http: true,
        create_bucket: true,
    };
    Config { url: format!("s3://{bucket}/some/prefix"), s3 }
}

async fn shared_server() -> Arc<S3Server> {
    static SERVER: Mutex<Weak<S3Server>> = Mutex::const_new(Weak::new());
    let mut shared = SERVER.lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(S3Server::start().await);
    *shared = Arc::downgrade(&server);
    server
}
