//! One connection to the server under load: HTTP/1.1 with prepared bytes, one request at a time.
//!
//! By hand, because a general client costs more than the request: a request is one `write`, an answer usually one `read`. There is no TLS.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    ops::Range,
};

use anyhow::{Context, ensure};
use http::HeaderMap;
use reqwest::Url;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
};

use super::answer::{self, Answer, Garbled};
use crate::client;

const FIRST_BUFFER_BYTES: usize = 4 * 1024;
/// The largest answer that is read.
const MOST_BYTES: usize = 16 << 20;

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The server, without a path.
    pub(super) origin: String,
    /// What comes before the length of a body: the request line and the headers.
    pub(super) head: Vec<u8>,
    addresses: Vec<SocketAddr>,
}

impl Target {
    /// Reads an address; requests go to `path` unless it has one.
    ///
    /// # Errors
    /// When it is no address, wants TLS, or its host has no address.
    pub(super) async fn find(url: &str, path: &str, headers: &HeaderMap) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).ok().filter(Url::has_host);
        let parsed = parsed.with_context(|| format!("`{url}` is not an address; write it like http://127.0.0.1:8080"))?;
        ensure!(
            parsed.scheme() == "http",
            "`tidemark load` speaks plain HTTP only, so that it costs little, and `{url}` is not; name a port without TLS with `--url http://...`"
        );
        let (host, port) = (parsed.host_str().unwrap_or_default(), parsed.port_or_known_default().unwrap_or(80));
        let authority = format!("{host}:{port}");
        let origin = format!("http://{authority}");
        let found = lookup_host(&authority).await.map_err(|_| client::Error::Unreachable { url: origin.clone() })?;
        let path = if parsed.path() == "/" { path } else { parsed.path() };
        let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self { head: head(&format!("{path}{query}"), &authority, headers), addresses: found.collect(), origin })
    }

    /// Whether somebody listens there.
    pub(super) async fn reach(&self) -> Result<(), client::Error> {
        let reached = connect(&self.addresses).await;
        reached.map(drop).map_err(|_| client::Error::Unreachable { url: self.origin.clone() })
    }
}

fn head(path: &str, authority: &str, headers: &HeaderMap) -> Vec<u8> {
    let fixed = format!("POST {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: tidemark-load\r\ncontent-type: application/json\r\n");
    let mut head = fixed.into_bytes();
    for (name, value) in headers {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It was not sent.
    #[error("the server cannot be reached")]
    Unreachable(#[source] io::Error),
    /// It may have been executed.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// It may have been executed.
    #[error(transparent)]
    Garbled(#[from] Garbled),
}

/// A connection, opened again when it was closed.
#[derive(Debug)]
pub(super) struct Connection {
    addresses: Vec<SocketAddr>,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens it.
    pub(super) async fn open(target: &Target) -> io::Result<Self> {
        let addresses = target.addresses.clone();
        Ok(Self { stream: Some(connect(&addresses).await?), addresses, buffer: Vec::with_capacity(FIRST_BUFFER_BYTES) })
    }

    /// Sends a request and waits for its answer. Whoever gives up waiting has closed the connection.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Answer, Fault> {
        let mut stream = match self.stream.take().filter(is_open) {
            Some(stream) => stream,
            None => connect(&self.addresses).await.map_err(Fault::Unreachable)?,
        };
        stream.write_all(request).await?;
        let answer = self.read(&mut stream).await?;
        if answer.is_reusable {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    /// A part of the last answer.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    async fn read(&mut self, stream: &mut TcpStream) -> Result<Answer, Fault> {
        self.buffer.clear();
        loop {
            let is_closed = stream.read_buf(&mut self.buffer).await? == 0;
            if let Some(answer) = answer::read(&self.buffer, is_closed)? {
                return Ok(answer);
            }
            if is_closed {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            if self.buffer.len() > MOST_BYTES {
                return Err(io::Error::from(ErrorKind::FileTooLarge).into());
            }
        }
    }
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addresses).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the server has neither closed an idle connection nor sent anything over it. Costs no system call when it has not.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}
