//! The loader's question whether the enclave lives: `nitro-cli run-enclave` listens on the parent's port 9000, and waits for
//! one byte that it sends back (`enclave_ready` in `init.c` of aws-nitro-enclaves-sdk-bootstrap).
use std::io::{Error, ErrorKind, Read, Write};
use std::time::Duration;
use wire::endpoint::Parent;

const PORT: u32 = 9000;
const BEAT: u8 = 0xb7;
/// Of connecting and of each way. Whoever does not answer by then does not hold up the signer.
const LIMIT: Duration = Duration::from_secs(2);

/// Tells the loader. A loader that does not answer ends the enclave itself, so this is not fatal.
pub(super) fn beat(parent: &Parent) -> Result<(), String> {
    let failed = |error: Error| match error.kind() {
        // As a socket with a time-out says it, and as a connect does.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("port {PORT} of the parent: no answer within {} s", LIMIT.as_secs())
        }
        _ => format!("port {PORT} of the parent: {error}"),
    };
    let mut stream = parent.connect(PORT, LIMIT).map_err(failed)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    stream.set_write_timeout(Some(LIMIT)).map_err(failed)?;
    stream.write_all(&[BEAT]).map_err(failed)?;
    let mut answer = [0];
    stream.read_exact(&mut answer).map_err(failed)?;
    match answer {
        [BEAT] => Ok(()),
        [other] => Err(format!("port {PORT} of the parent: expected the byte {BEAT:#x} back, got {other:#x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::thread;

    fn base(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tmkms-heartbeat-{}-{name}", std::process::id()))
    }

    fn loader(base: &std::path::Path, answer: &'static [u8]) -> thread::JoinHandle<u8> {
        let path = PathBuf::from(format!("{}_9000", base.display()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            stream.write_all(answer).unwrap();
            std::fs::remove_file(path).unwrap();
            byte[0]
        })
    }

    #[test]
    fn the_loader_gets_the_byte_and_its_answer_is_checked() {
        for (name, answer, good) in [("good", b"\xb7".as_slice(), true), ("other", b"x", false), ("none", b"", false)] {
            let base = base(name);
            let loader = loader(&base, answer);
            let told = beat(&Parent::Unix { base });
            assert_eq!(told.is_ok(), good, "{told:?}");
            assert_eq!(loader.join().unwrap(), 0xb7);
        }
        let silent = base("silent");
        let path = PathBuf::from(format!("{}_9000", silent.display()));
        let listener = UnixListener::bind(&path).unwrap();
        let told = beat(&Parent::Unix { base: silent }).unwrap_err();
        assert!(told.contains("no answer within 2 s"), "{told}");
        drop(listener);
        std::fs::remove_file(path).unwrap();
        let nobody = beat(&Parent::Unix { base: base("nobody") }).unwrap_err();
        assert!(nobody.contains("9000"), "{nobody}");
    }
}
