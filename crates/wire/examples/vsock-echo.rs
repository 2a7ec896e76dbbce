//! The benchmark's measure of an emulated enclave's vsock: the only program of an image, which connects to the parent and sends back what
//! comes. It has no NSM, no mounts and no thread: what a round trip takes beside it is the emulation's.
use std::io::{Read, Write};
use std::time::Duration;
use wire::endpoint::{Parent, Stream};

/// The parent's port.
const PORT: u32 = 7;
/// The emulator's host; `vhost-device-vsock` passes on to nobody else.
const PARENT: Parent = Parent::Vsock { cid: 2 };

fn main() {
    loop {
        // The parent may not listen yet, or no more: the init of an image never ends.
        if let Ok(stream) = PARENT.connect(PORT, Duration::from_secs(1)) {
            let _ = echo(stream);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn echo(mut stream: Stream) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    // What the host sends before it has heard from a guest is lost.
    stream.write_all(&[0])?;
    loop {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..length])?;
    }
}
