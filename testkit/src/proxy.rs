//! A proxy of our own between two parts, which can cut and stall the link, and play tricks on single HTTP requests.
//!
//! It runs on a thread of its own, so it goes on while a test blocks. Every trouble that it makes is counted in [`Seen`]: a fault that
//! nobody met did not happen.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::watch,
    task::JoinSet,
};

use self::rules::Rules;
pub use self::rules::{Outcome, Rule};

mod http;
mod message;
mod relay;
mod rules;
#[cfg(test)]
mod tests;

/// A proxy on a free loopback port. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What was done to the traffic so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Connections that were open when the link was cut.
    pub cut: u64,
    /// Connections that were tried while it was cut.
    pub refused: u64,
    /// Connections and pieces of data that had to wait while the link was stalled.
    pub stalled: u64,
    /// Requests that met a [`Rule`].
    pub ruled: u64,
}

/// What happens to everything on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    Cut,
    Stall,
    /// The proxy is being dropped.
    Ended,
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Bytes,
    Http,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    protocol: Protocol,
    mode: watch::Sender<Mode>,
    rules: Mutex<Rules>,
    cut: AtomicU64,
    refused: AtomicU64,
    stalled: AtomicU64,
    ruled: AtomicU64,
}

impl Proxy {
    /// Carries bytes to `upstream` (`host:port`) and does not look at them.
    #[must_use]
    pub fn tcp(upstream: impl Into<String>) -> Self {
        Self::start(upstream.into(), Protocol::Bytes)
    }

    /// Carries HTTP/1.1 to `upstream` (`host:port`); requests meet the [`Rule`]s.
    #[must_use]
    pub fn http(upstream: impl Into<String>) -> Self {
        Self::start(upstream.into(), Protocol::Http)
    }

    /// Where it listens: `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Lets everything through again; what was stalled goes on.
    pub fn pass(&self) {
        self.shared.mode.send_replace(Mode::Pass);
    }

    /// Ends all connections, and new ones at once.
    pub fn cut(&self) {
        self.shared.mode.send_replace(Mode::Cut);
    }

    /// Accepts connections and bytes, and forwards nothing.
    pub fn stall(&self) {
        self.shared.mode.send_replace(Mode::Stall);
    }

    /// Adds a rule for the requests to come; of several that match, the first decides.
    pub fn add(&self, rule: Rule) {
        self.shared.rules().add(rule);
    }

    /// Removes all rules.
    pub fn forget_rules(&self) {
        *self.shared.rules() = Rules::default();
    }

    /// What was done so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let [cut, refused, stalled, ruled] =
            [&self.shared.cut, &self.shared.refused, &self.shared.stalled, &self.shared.ruled].map(|count| count.load(Ordering::Relaxed));
        Seen { cut, refused, stalled, ruled }
    }

    fn start(upstream: String, protocol: Protocol) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        listener.set_nonblocking(true).expect("a new listener can be told not to block");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared::new(upstream, protocol));
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a small runtime can be built");
            runtime.block_on(async { serve(TcpListener::from_std(listener).expect("the runtime has I/O"), served).await });
        });
        Self { address, shared, thread: Some(thread) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.mode.send_replace(Mode::Ended);
        // A panic of the thread has been printed already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn new(upstream: String, protocol: Protocol) -> Self {
        let [cut, refused, stalled, ruled] = [const { AtomicU64::new(0) }; 4];
        Self { upstream, protocol, mode: watch::Sender::new(Mode::Pass), rules: Mutex::default(), cut, refused, stalled, ruled }
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the link is stalled; says in [`Seen`] when it did.
    async fn passable(&self) {
        if *self.mode.borrow() == Mode::Stall {
            count(&self.stalled);
            // The sender lives as long as `self`.
            let _ = self.mode.subscribe().wait_for(|mode| *mode != Mode::Stall).await;
        }
    }

    async fn is_cut(&self) {
        let _ = self.mode.subscribe().wait_for(|mode| matches!(mode, Mode::Cut | Mode::Ended)).await;
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut mode = shared.mode.subscribe();
    loop {
        tokio::select! {
            _ = mode.wait_for(|mode| *mode == Mode::Ended) => return,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(carry(client, Arc::clone(&shared)));
            },
        }
    }
}

/// One connection, until either side or the proxy ends it.
async fn carry(client: TcpStream, shared: Arc<Shared>) {
    if *shared.mode.borrow() == Mode::Cut {
        count(&shared.refused);
        return;
    }
    let carried = async {
        shared.passable().await;
        let upstream = TcpStream::connect(&shared.upstream).await?;
        client.set_nodelay(true)?;
        upstream.set_nodelay(true)?;
        match shared.protocol {
            Protocol::Bytes => relay::carry(client, upstream, &shared).await,
            Protocol::Http => http::carry(client, upstream, &shared).await,
        }
    };
    tokio::select! {
        // Errors are those of a closed connection, which both sides see for themselves.
        _ = carried => {}
        () = shared.is_cut() => count(&shared.cut),
    }
}
