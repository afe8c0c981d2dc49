//! Bytes as they come, both ways.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::Shared;

/// Until either side ends.
pub(super) async fn carry(client: TcpStream, upstream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (from_client, to_client) = client.into_split();
    let (from_upstream, to_upstream) = upstream.into_split();
    tokio::select! {
        ended = pump(from_client, to_upstream, shared) => ended,
        ended = pump(from_upstream, to_client, shared) => ended,
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        shared.passable().await;
        to.write_all(&buffer[..length]).await?;
    }
}
