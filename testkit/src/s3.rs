//! A real S3 server: SeaweedFS (master, volume, filer and S3 gateway in one child process), with credentials.
//!
//! SeaweedFS honours `If-None-Match` on PUT atomically, which a Delta commit needs. Data and settings live in a temporary folder;
//! the ports stay the same over [`S3Server::restart`].

use std::{
    array,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{tool, until};

const ACCESS_KEY: &str = "testkit";
const SECRET_KEY: &str = "testkit-secret";
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// A port that was free may be taken a moment later; then the server ends at once and gets new ones.
const ATTEMPTS: usize = 3;

/// A SeaweedFS process; killed, and its data removed, on drop. It has no bucket at first and creates none by itself.
pub struct S3Server {
    ports: Ports,
    dir: TempDir,
    child: Child,
}

/// Every port SeaweedFS would otherwise take from its defaults.
struct Ports {
    master: [u16; 2],
    volume: [u16; 2],
    filer: [u16; 2],
    s3: [u16; 2],
}

impl S3Server {
    /// Starts a server on free ports and waits until its S3 port answers.
    pub async fn start() -> Self {
        for _ in 1..ATTEMPTS {
            let mut server = Self::spawn();
            if server.is_ready().await {
                return server;
            }
        }
        let mut server = Self::spawn();
        assert!(server.is_ready().await, "SeaweedFS ended at once, {ATTEMPTS} times:\n{}", server.log());
        server
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.s3[0])
    }

    /// The access key id of the only user, who may do everything.
    #[must_use]
    pub const fn access_key(&self) -> &str {
        ACCESS_KEY
    }

    /// The secret access key of the only user.
    #[must_use]
    pub const fn secret_key(&self) -> &str {
        SECRET_KEY
    }

    /// Ends the process at once, as a crash would. The data stay.
    pub fn kill(&mut self) {
        // It may have ended before: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ports.remove_sockets();
    }

    /// Starts the process again on the same ports and data, and waits until its S3 port answers.
    pub async fn restart(&mut self) {
        self.kill();
        self.child = launch(self.dir.path(), &self.ports);
        assert!(self.is_ready().await, "SeaweedFS does not start again:\n{}", self.log());
    }

    fn spawn() -> Self {
        let dir = tempfile::tempdir().expect("the temporary folder is writable");
        let identities = format!(
            r#"{{"identities":[{{"name":"testkit","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
        );
        std::fs::write(dir.path().join("identities.json"), identities).expect("the temporary folder is writable");
        let ports = Ports::free();
        let child = launch(dir.path(), &ports);
        Self { ports, dir, child }
    }

    /// True when the S3 port answers (without credentials: 403), false when the process has ended.
    async fn is_ready(&mut self) -> bool {
        let endpoint = self.endpoint();
        let child = &mut self.child;
        until("the S3 port of SeaweedFS answers", READY_DEADLINE, || {
            let ended = child.try_wait().expect("our child can be asked").is_some();
            let request = reqwest::get(endpoint.clone());
            async move {
                if ended {
                    return Some(false);
                }
                let answer = request.await.ok()?;
                (answer.status() == reqwest::StatusCode::FORBIDDEN).then_some(true)
            }
        })
        .await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Ports {
    /// Eight different ports that were free a moment ago: all are held until the last is known.
    fn free() -> Self {
        let listeners: [TcpListener; 8] = array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port"));
        let mut ports = listeners.iter().map(|listener| listener.local_addr().expect("a bound listener has an address").port());
        let mut pair = || array::from_fn(|_| ports.next().expect("there are eight listeners"));
        Self { master: pair(), volume: pair(), filer: pair(), s3: pair() }
    }

    fn each(&self) -> [(&'static str, [u16; 2]); 4] {
        [("master", self.master), ("volume", self.volume), ("filer", self.filer), ("s3", self.s3)]
    }

    fn arguments(&self) -> impl Iterator<Item = String> {
        self.each().into_iter().flat_map(|(part, [http, grpc])| [format!("-{part}.port={http}"), format!("-{part}.port.grpc={grpc}")])
    }

    /// SeaweedFS puts a socket for each gRPC port into `/tmp`, whatever its settings are.
    fn remove_sockets(&self) {
        for (part, [_, grpc]) in self.each() {
            let _ = std::fs::remove_file(format!("/tmp/seaweedfs-{part}-grpc-{grpc}.sock"));
        }
    }
}

fn launch(dir: &Path, ports: &Ports) -> Child {
    let data = dir.join("data");
    std::fs::create_dir_all(&data).expect("the temporary folder is writable");
    let log = std::fs::File::create(dir.join("log")).expect("the temporary folder is writable");
    let path = |option: &str, name: &str| format!("-{option}={}", dir.join(name).display());
    Command::new(tool("weed"))
        // One volume for each new bucket instead of seven.
        .env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1")
        .args(["-logtostderr=true", "server", "-filer", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
        .args(["-volume.max=200", "-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=0", "-master.telemetry=false"])
        // A restarted master waits so long before it leads again; the default is 10 s.
        .arg("-master.electionTimeout=1s")
        .args(["-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"])
        .args([path("dir", "data"), path("s3.config", "identities.json")])
        .args([path("filer.localSocket", "filer.sock"), path("s3.localSocket", "s3.sock")])
        .args(ports.arguments())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("weed starts")
}
