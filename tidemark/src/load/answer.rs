//! Where an answer of HTTP/1.1 ends, and what of it a load generator needs.

use std::ops::Range;

use httparse::{Header, Response, Status};

const MOST_HEADERS: usize = 100;

/// A whole answer in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    /// Its body in the buffer; empty when it came in chunks.
    pub(super) body: Range<usize>,
    /// Whether the connection may be used again.
    pub(super) is_reusable: bool,
}

/// What came is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Garbled {
    /// Not HTTP.
    #[error("the answer is not HTTP/1.1")]
    Head(#[from] httparse::Error),
    /// A length that is none.
    #[error("the answer has a wrong length")]
    Length,
}

/// How the end of a body is told.
enum Framing {
    Length(usize),
    Chunks,
    UntilClosed,
}

/// The answer at the start of a buffer; `None` when more must come. `is_closed`: nothing more will come.
///
/// # Errors
/// When it is no answer, whatever follows.
pub(super) fn read(buffer: &[u8], is_closed: bool) -> Result<Option<Answer>, Garbled> {
    let mut begin = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = Response::new(&mut headers);
        let Status::Complete(length) = head.parse(&buffer[begin..])? else { return Ok(None) };
        begin += length;
        let status = head.code.expect("a complete head has a status");
        if status < 200 {
            continue;
        }
        let keeps_open = head.version == Some(1) && !has(head.headers, "connection", b"close");
        let framing = framing(status, head.headers)?;
        let is_framed = !matches!(framing, Framing::UntilClosed);
        let Some((body, end)) = body(framing, buffer, begin, is_closed)? else { return Ok(None) };
        return Ok(Some(Answer { status, body, is_reusable: keeps_open && is_framed && end == buffer.len() }));
    }
}

fn framing(status: u16, headers: &[Header<'_>]) -> Result<Framing, Garbled> {
    if matches!(status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    if has(headers, "transfer-encoding", b"chunked") {
        return Ok(Framing::Chunks);
    }
    let Some(length) = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length")) else {
        return Ok(Framing::UntilClosed);
    };
    let length = std::str::from_utf8(length.value).ok().and_then(|text| text.trim().parse().ok());
    length.map(Framing::Length).ok_or(Garbled::Length)
}

/// The body and where the answer ends, when all of it is there.
fn body(framing: Framing, buffer: &[u8], begin: usize, is_closed: bool) -> Result<Option<(Range<usize>, usize)>, Garbled> {
    Ok(match framing {
        Framing::Length(length) => {
            let end = begin.checked_add(length).ok_or(Garbled::Length)?;
            (end <= buffer.len()).then_some((begin..end, end))
        }
        Framing::Chunks => end_of_chunks(buffer, begin)?.map(|end| (begin..begin, end)),
        Framing::UntilClosed => is_closed.then_some((begin..buffer.len(), buffer.len())),
    })
}

/// Where chunks that begin at `at` end, with their trailer.
fn end_of_chunks(buffer: &[u8], mut at: usize) -> Result<Option<usize>, Garbled> {
    loop {
        let Some(rest) = buffer.get(at..) else { return Ok(None) };
        let Status::Complete((line, size)) = httparse::parse_chunk_size(rest).map_err(|_| Garbled::Length)? else { return Ok(None) };
        at += line;
        if size == 0 {
            let mut trailer = [httparse::EMPTY_HEADER; MOST_HEADERS];
            return Ok(match httparse::parse_headers(&buffer[at..], &mut trailer)? {
                Status::Complete((length, _)) => Some(at + length),
                Status::Partial => None,
            });
        }
        let size = usize::try_from(size).map_err(|_| Garbled::Length)?;
        at = at.checked_add(size).and_then(|end| end.checked_add(b"\r\n".len())).ok_or(Garbled::Length)?;
    }
}

/// Whether a header has this word, alone or in a list.
fn has(headers: &[Header<'_>], name: &str, word: &[u8]) -> bool {
    let named = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    named.flat_map(|header| header.value.split(|byte| *byte == b',')).any(|value| value.trim_ascii().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status, the body and whether the connection stays, of an answer that is not there before its last byte.
    fn read_whole(text: &str) -> (u16, String, bool) {
        for length in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..length], false).unwrap(), None, "{:?}", &text[..length]);
        }
        let Answer { status, body, is_reusable } = read(text.as_bytes(), false).unwrap().unwrap();
        (status, text[body].to_owned(), is_reusable)
    }

    #[test]
    fn an_answer_ends_where_its_length_its_chunks_or_its_status_say() {
        assert_eq!(read_whole("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"), (202, "{}".into(), true));
        assert_eq!(read_whole("HTTP/1.1 204 No Content\r\ntidemark-position: 0:1:0\r\n\r\n"), (204, String::new(), true));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=1\r\nwiki\r\n10\r\n0123456789abcdef\r\n0\r\nX: y\r\n\r\n";
        assert_eq!(read_whole(chunked), (200, String::new(), true));
        assert_eq!(read_whole("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), (200, String::new(), true));
    }

    #[test]
    fn a_connection_is_used_again_only_when_the_server_keeps_it() {
        assert!(!read_whole("HTTP/1.1 503 No\r\nConnection: foo, Close\r\nContent-Length: 0\r\n\r\n").2);
        assert!(!read_whole("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").2);
        let more = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200";
        assert!(!read(more, false).unwrap().unwrap().is_reusable, "what nobody asked for makes the next answer wrong");
        let endless = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert_eq!(read(endless, false).unwrap(), None);
        assert_eq!(read(endless, true).unwrap(), Some(Answer { status: 200, body: 19..22, is_reusable: false }));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
        {
            assert!(read(text.as_bytes(), false).is_err(), "{text}");
        }
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
        assert!(read(chunked.as_bytes(), false).is_err());
    }
}
