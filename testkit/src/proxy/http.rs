//! Requests one after the other, each as a whole, past the rules.

use std::io;

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{Mode, Shared, count, message::Message, rules::Outcome};
use crate::pause;

/// Until either side ends, or a reply is lost.
pub(super) async fn carry(client: TcpStream, upstream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (from_client, mut to_client) = client.into_split();
    let (from_upstream, to_upstream) = upstream.into_split();
    let mut from_client = BufReader::new(from_client);
    let mut server = Server { from: BufReader::new(from_upstream), to: to_upstream };
    while let Some(request) = Message::request(&mut from_client).await? {
        let outcome = shared.rules().judge(request.method(), request.path());
        if outcome.is_some() {
            count(&shared.ruled);
        }
        if outcome == Some(Outcome::Stall) {
            shared.mode.send_replace(Mode::Stall);
        }
        shared.passable().await;
        let Some(reply) = reply(&request, outcome, &mut server).await? else { return Ok(()) };
        shared.passable().await;
        to_client.write_all(&reply.bytes).await?;
        if request.is_last() || reply.is_last {
            return Ok(());
        }
    }
    Ok(())
}

struct Server {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

struct Reply {
    bytes: Vec<u8>,
    is_last: bool,
}

impl Server {
    async fn execute(&mut self, request: &Message) -> io::Result<Reply> {
        self.to.write_all(&request.bytes).await?;
        let response = Message::response(&mut self.from, request).await?;
        Ok(Reply { is_last: response.is_last(), bytes: response.bytes })
    }
}

/// What the client gets; `None`: the end of its connection.
async fn reply(request: &Message, outcome: Option<Outcome>, server: &mut Server) -> io::Result<Option<Reply>> {
    match outcome {
        None | Some(Outcome::Stall) => server.execute(request).await.map(Some),
        Some(Outcome::LoseReply) => server.execute(request).await.map(|_lost| None),
        Some(Outcome::Delay(duration)) => {
            pause(duration).await;
            server.execute(request).await.map(Some)
        }
        Some(Outcome::Answer { status, is_executed }) => {
            let is_last = is_executed && server.execute(request).await?.is_last;
            Ok(Some(Reply { bytes: invented(status), is_last }))
        }
    }
}

/// An error as S3 writes it.
fn invented(status: u16) -> Vec<u8> {
    let (reason, code) = match status {
        409 => ("Conflict", "ConditionalRequestConflict"),
        412 => ("Precondition Failed", "PreconditionFailed"),
        503 => ("Service Unavailable", "SlowDown"),
        _ => ("Internal Server Error", "InternalError"),
    };
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>said the proxy</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status} {reason}\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}
