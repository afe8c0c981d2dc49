//! One HTTP/1.1 message as raw bytes, with just enough understanding to know where it ends.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::tcp::OwnedReadHalf,
};

/// A request or a response: first line, headers and body, byte for byte.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    first_line: String,
    is_last: bool,
}

/// How the end of a body is told.
enum Body {
    None,
    Length(u64),
    Chunks,
    UntilClosed,
}

impl Message {
    /// The next request; `None` when the client has closed.
    pub(super) async fn request(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Self>> {
        let Some((mut message, body)) = Self::head(from).await? else { return Ok(None) };
        // A request that says nothing of a body has none.
        let body = if matches!(body, Body::UntilClosed) { Body::None } else { body };
        message.read_body(from, body).await?;
        Ok(Some(message))
    }

    /// The response to `request`.
    pub(super) async fn response(from: &mut BufReader<OwnedReadHalf>, request: &Self) -> io::Result<Self> {
        let (mut message, body) = Self::head(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = message.word(1);
        let has_no_body = request.method() == "HEAD" || status == "204" || status == "304";
        message.read_body(from, if has_no_body { Body::None } else { body }).await?;
        Ok(message)
    }

    pub(super) fn method(&self) -> &str {
        self.word(0)
    }

    pub(super) fn path(&self) -> &str {
        self.word(1)
    }

    /// Whether the connection ends after this message.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    fn word(&self, index: usize) -> &str {
        self.first_line.split(' ').nth(index).unwrap_or_default()
    }

    async fn head(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<(Self, Body)>> {
        let mut message = Self { bytes: Vec::new(), first_line: String::new(), is_last: false };
        let mut body = Body::UntilClosed;
        loop {
            let line = line(from, &mut message.bytes).await?;
            match line.as_deref() {
                None if message.first_line.is_empty() => return Ok(None),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some("") => break,
                Some(first) if message.first_line.is_empty() => first.clone_into(&mut message.first_line),
                Some(header) => message.read_header(&header.to_ascii_lowercase(), &mut body)?,
            }
        }
        Ok(Some((message, body)))
    }

    fn read_header(&mut self, header: &str, body: &mut Body) -> io::Result<()> {
        let (name, value) = header.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        match (name, value.trim()) {
            ("content-length", length) => *body = Body::Length(length.parse().map_err(|_| io::ErrorKind::InvalidData)?),
            ("transfer-encoding", "chunked") => *body = Body::Chunks,
            ("connection", "close") => self.is_last = true,
            _ => {}
        }
        Ok(())
    }

    async fn read_body(&mut self, from: &mut BufReader<OwnedReadHalf>, body: Body) -> io::Result<()> {
        match body {
            Body::None => Ok(()),
            Body::Length(length) => exactly(from, length, &mut self.bytes).await,
            Body::Chunks => chunks(from, &mut self.bytes).await,
            Body::UntilClosed => {
                self.is_last = true;
                from.read_to_end(&mut self.bytes).await.map(|_| ())
            }
        }
    }
}

/// The next line without its end; `None` when the connection has ended.
async fn line(from: &mut BufReader<OwnedReadHalf>, bytes: &mut Vec<u8>) -> io::Result<Option<String>> {
    let start = bytes.len();
    let length = from.read_until(b'\n', bytes).await?;
    let text = String::from_utf8_lossy(&bytes[start..]);
    Ok((length > 0).then(|| text.trim_end_matches(['\r', '\n']).to_owned()))
}

async fn exactly(from: &mut BufReader<OwnedReadHalf>, length: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    match from.take(length).read_to_end(bytes).await? {
        read if read as u64 == length => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Chunks up to the empty one, then trailers up to the empty line.
async fn chunks(from: &mut BufReader<OwnedReadHalf>, bytes: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(from, bytes).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        match u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)? {
            0 => break,
            length => exactly(from, length + 2, bytes).await?,
        }
    }
    while !line(from, bytes).await?.ok_or(io::ErrorKind::UnexpectedEof)?.is_empty() {}
    Ok(())
}
