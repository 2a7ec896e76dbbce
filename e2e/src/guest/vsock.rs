//! The guest's virtio-vsock device, and a way from an emulated enclave's parent port into it.
use crate::line::repository;
use crate::{Process, Sandbox, until};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `vhost-device-vsock`, which is that device for one boot.
pub struct Vsock {
    _process: Process,
    base: PathBuf,
    vhost: PathBuf,
}

impl Vsock {
    /// Starts it.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn start(sandbox: &Sandbox, name: &str, cid: u32) -> Result<Self> {
        let program = repository().join(".cache/emulator/bin/vhost-device-vsock");
        ensure!(
            program.is_file(),
            "{} is missing: a guest's vsock needs it; run `cargo xtask enclave setup` first",
            program.display()
        );
        let (base, vhost) = (sandbox.dir().join(format!("{name}.vsock")), sandbox.dir().join(format!("{name}.vhost")));
        for socket in [&base, &vhost] {
            let _ = fs::remove_file(socket);
        }
        let mut command = Command::new(program);
        command.arg("--guest-cid").arg(cid.to_string());
        command.arg("--uds-path").arg(&base).arg("--socket").arg(&vhost);
        let mut process = Process::spawn(sandbox, &format!("{name}-vsock"), command)?;
        until("vhost-device-vsock", Duration::from_secs(20), || {
            process.check()?;
            Ok(vhost.exists().then_some(()))
        })?;
        Ok(Self { _process: process, base, vhost })
    }

    /// Where the host's programs reach the guest.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Where QEMU connects.
    pub fn vhost_socket(&self) -> &Path {
        &self.vhost
    }
}

/// Listens where an emulated enclave looks for a port of its parent, and leads each connection to a vsock port of a guest that is the parent.
pub struct Relay {
    socket: PathBuf,
    over: Arc<AtomicBool>,
}

impl Relay {
    /// From the Unix socket `from` to port `port` behind the base path `base`, whether anybody is there yet or not.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(from: &Path, base: &Path, port: u32) -> Result<Self> {
        let _ = fs::remove_file(from);
        let listener = UnixListener::bind(from).with_context(|| format!("cannot listen at {}", from.display()))?;
        let over = Arc::new(AtomicBool::new(false));
        let (ended, base) = (Arc::clone(&over), base.to_path_buf());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(io::Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let base = base.clone();
                std::thread::spawn(move || carry(stream, &base, port));
            }
        });
        Ok(Self { socket: from.to_path_buf(), over })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.socket);
        let _ = fs::remove_file(&self.socket);
    }
}

/// An error closes the enclave's connection, which is what a parent without a listener looks like.
fn carry(enclave: UnixStream, base: &Path, port: u32) -> io::Result<()> {
    let mut guest = UnixStream::connect(base)?;
    guest.write_all(format!("CONNECT {port}\n").as_bytes())?;
    // `OK <number>\n`, byte by byte, for what follows is not ours.
    let mut byte = [0];
    while byte != *b"\n" {
        guest.read_exact(&mut byte)?;
    }
    let (from_enclave, to_guest) = (enclave.try_clone()?, guest.try_clone()?);
    std::thread::spawn(move || one_way(from_enclave, to_guest));
    one_way(guest, enclave);
    Ok(())
}

fn one_way(mut from: UnixStream, mut to: UnixStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
