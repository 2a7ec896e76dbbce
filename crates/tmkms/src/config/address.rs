//! The setting `addr`: what tmkms accepts is read as the signer's [`Endpoint`]; what is not there yet is named.
use super::fields::shorten;
use signer::Endpoint;
use std::path::Path;

/// What is wrong with an address, and what to do.
pub(crate) type AddressFault = (String, &'static str);

const FORMS: &str = "write \"unix:///path/to/socket\" or \"tcp://[peer-id@]host:port\"";

/// Reads an address. Without a scheme it is TCP, as in tmkms. Relative socket paths are relative to `folder`.
pub(crate) fn parse(text: &str, folder: &Path) -> Result<Endpoint, AddressFault> {
    match text.split_once("://") {
        Some(("unix", path)) => unix(path, folder),
        Some(("tcp", rest)) => tcp(rest),
        None => tcp(text),
        Some(("noise", _)) => Err((
            "noise:// (CometBFT v0.40) is not supported in this version".to_owned(),
            "let the node listen on unix:// or tcp://; v0.40 still takes both",
        )),
        Some(("vsock", _)) => Err((
            "a vsock port is not written as a text".to_owned(),
            "write addr = { port = N }, the port of `tmkms nitro proxy` on the parent",
        )),
        Some((scheme, _)) => Err((format!("expected the scheme unix or tcp, got \"{}\"", shorten(scheme)), FORMS)),
    }
}

fn unix(path: &str, folder: &Path) -> Result<Endpoint, AddressFault> {
    if path.is_empty() || path.contains('\0') {
        return Err(("the socket's path is empty or holds a zero byte".to_owned(), FORMS));
    }
    if path.starts_with('@') {
        return Err((
            "abstract Unix sockets are not supported: any local process may take such a name".to_owned(),
            "give the node a socket path in a folder that only it and this signer can enter",
        ));
    }
    let path = folder.join(path);
    let (bytes, most) = (path.as_os_str().len(), Endpoint::MAX_PATH_BYTES);
    if bytes > most {
        return Err((
            format!("the socket's path is too long: expected at most {most} bytes, got {bytes}"),
            "move the socket to a shorter path; the kernel allows no more",
        ));
    }
    Ok(Endpoint::Unix { path })
}

fn tcp(text: &str) -> Result<Endpoint, AddressFault> {
    // tmkms reads the address as a URL and passes over a slash behind the port.
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.len() > MAX_ADDRESS_BYTES {
        return Err((format!("expected at most {MAX_ADDRESS_BYTES} bytes, got {}", text.len()), FORMS));
    }
    format!("tcp://{text}").parse().map_err(|error: signer::connection::InvalidEndpoint| (error.to_string(), FORMS))
}

/// The longest address that is read: a peer id, a host name of 253 bytes (RFC 1035) and a port, with room.
const MAX_ADDRESS_BYTES: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text, Path::new("/etc/tmkms")) {
            Ok(address) => address.to_string(),
            Err((message, _)) => message,
        }
    }

    #[test]
    fn good_addresses_are_read() {
        let id = "F88883b673fc69d7869cab098de3bafc2ff76eb8";
        for (text, expected) in [
            ("unix:///run/node.sock", "unix:///run/node.sock"),
            ("unix://node.sock", "unix:///etc/tmkms/node.sock"),
            ("tcp://10.0.0.1:26659", "tcp://10.0.0.1:26659"),
            ("10.0.0.1:26659", "tcp://10.0.0.1:26659"),
            ("tcp://[::1]:26659/", "tcp://[::1]:26659"),
            (&format!("tcp://{id}@node-1.example.com:1"), &format!("tcp://{}@node-1.example.com:1", id.to_lowercase())),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn bad_addresses_say_what_was_expected() {
        for (text, expected) in [
            ("unix://", "the socket's path is empty or holds a zero byte"),
            ("unix://@abstract", "abstract Unix sockets are not supported: any local process may take such a name"),
            ("http://host:1", "expected the scheme unix or tcp, got \"http\""),
            ("noise://id@host:1", "noise:// (CometBFT v0.40) is not supported in this version"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        for text in ["", "tcp://host", "tcp://host:0", "tcp://host:65536", "tcp://:26659", "tcp://abc@host:1"] {
            assert!(parse(text, Path::new("")).is_err(), "{text}");
        }
        let long = format!("unix:///{}", "x".repeat(107));
        assert_eq!(shown(&long), "the socket's path is too long: expected at most 107 bytes, got 108");
        assert!(parse(&"x".repeat(400), Path::new("")).is_err());
    }
}
