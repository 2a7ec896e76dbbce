//! Answers of HTTP/1.1: both framings, every cut, every bound, and what is unusual.
use super::*;

/// Gives a byte at a time, as a slow or hostile peer does.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(buffer.len()).min(1);
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn read(bytes: &[u8]) -> Result<Response, HttpError> {
    let (whole, dripped) = (Response::read(bytes), Response::read(Drip(bytes)));
    assert_eq!(whole.as_ref().ok().map(|r| &r.body), dripped.as_ref().ok().map(|r| &r.body));
    whole
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).err().unwrap().to_string()
}

#[test]
fn both_framings_give_the_body() {
    let sized = read(
        b"HTTP/1.1 400 Bad Request\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-amzn-ErrorType: AccessDeniedException\r\ncontent-LENGTH: 2\r\n\r\n{}HTTP",
    )
    .unwrap();
    assert_eq!((sized.status, sized.body.as_slice()), (400, b"{}".as_slice()));
    assert_eq!(sized.error_type.as_deref(), Some("AccessDeniedException"));
    assert!(sized.date.is_some());
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nT: x\r\n\r\n";
    assert_eq!(read(chunked).unwrap().body.as_slice(), b"abc0123456789");
    assert!(read(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap().body.is_empty());
}

#[test]
fn an_answer_that_is_cut_anywhere_is_refused() {
    for whole in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        assert!(read(whole).is_ok());
        for end in 0..whole.len() {
            assert!(matches!(read(&whole[..end]), Err(HttpError::Io(_))), "cut at {end}");
        }
    }
}

#[test]
fn two_lengths_no_length_and_strange_lengths_are_refused() {
    for (headers, reason) in [
        ("", "neither"),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", "twice"),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "both"),
        ("Transfer-Encoding: gzip, chunked\r\n", "not chunked"),
        ("Content-Length: +1\r\n", "no number"),
        ("Content-Length: 1, 1\r\n", "no number"),
        ("Content-Length: \r\n", "no number"),
        ("Content-Length: 99999999999999999999\r\n", "no number"),
        ("Content-Length: 32769\r\n", "too long"),
    ] {
        let text = refusal(format!("HTTP/1.1 200 OK\r\n{headers}\r\nabc").as_bytes());
        assert!(text.contains(reason), "{headers}: {text}");
    }
}

#[test]
fn heads_that_are_not_http_1_1_are_refused() {
    for head in [
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\n\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "\r\n\r\n",
    ] {
        assert!(matches!(read(head.as_bytes()), Err(HttpError::Malformed(_))), "{head:?}");
    }
}

#[test]
fn everything_that_has_no_end_is_refused_at_its_bound() {
    let head = b"HTTP/1.1 200 OK\r\nX: ".chain(io::repeat(b'a'));
    assert!(matches!(Response::read(head), Err(HttpError::Malformed("its head is too long"))));
    let headers = "a: b\r\n".repeat(MAX_HEADERS + 1);
    assert!(refusal(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes()).contains("head"));
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
    let line = chunked.chain(io::repeat(b'0'));
    assert!(Response::read(line).err().unwrap().to_string().contains("line"));
    let body = [chunked, b"1\r\na\r\n".repeat(MAX_BODY_BYTES + 1).as_slice()].concat();
    assert!(Response::read(&*body).err().unwrap().to_string().contains("too long"));
    let trailers = [chunked, b"0\r\n", b"a: b\r\n".repeat(1000).as_slice()].concat();
    assert!(Response::read(&*trailers).err().unwrap().to_string().contains("line"));
}

#[test]
fn bad_chunks_are_refused() {
    for (chunks, reason) in [
        ("x\r\n", "no number"),
        ("-1\r\n", "no number"),
        ("\r\n", "no number"),
        ("123456789\r\n", "no number"),
        ("FFFFFFFF\r\n", "too long"),
        ("8001\r\n", "too long"),
        ("2\r\nabc\r\n", "does not end"),
        ("1\r\na\n0\r\n\r\n", "does not end"),
    ] {
        let text = refusal(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").as_bytes());
        assert!(text.contains(reason), "{chunks:?}: {text}");
    }
}
