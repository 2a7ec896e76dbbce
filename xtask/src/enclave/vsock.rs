//! `vhost-device-vsock` as it is published, which makes a guest's vsock ports Unix sockets, with six mends: without them, one program of the
//! parent that hangs up at the wrong moment ends the vsock of the whole enclave, and what one guest sends another is cut off after 4 KiB. Nothing on
//! Nitro does that.
use super::cause;
use super::progress::{self, Progress};
use super::setup::copy;
use crate::debian::{self, Need};
use crate::step;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "vhost-device-vsock";
/// The version that is published.
const PUBLISHED: &str = "0.3.0";
/// What it calls itself with the mends.
pub const VERSION: &str = "0.3.0+mended.4";

/// A place in its source and what stands there instead.
struct Mend {
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

const MENDS: [Mend; 9] = [
    // The guest accepted, and whoever asked has hung up meanwhile (a status with a time limit, an enclave that was busy). As
    // published: a panic, and no packet is handled any more. Now the guest's connection is reset.
    Mend {
        file: "src/vsock_conn.rs",
        old: "self.stream.write_all(response.as_bytes()).unwrap();",
        new: "if self.stream.write_all(response.as_bytes()).is_err() {\n                        self.rx_queue.enqueue(RxOps::Reset);\n                        return Ok(());\n                    }",
    },
    // Connected, and hung up before it said which port it wants. As published: its socket is kept and its event is never taken
    // from the epoll, so that a processor is busy until the end.
    Mend {
        file: "src/vhu_vsock_thread.rs",
        old: "// Has to be EPOLLIN as it was not connected previously\n",
        new: "if evset.intersects(epoll::Events::EPOLLHUP | epoll::Events::EPOLLERR) {\n                        let _ = Self::epoll_unregister(self.get_epoll_fd(), fd);\n                        self.thread_backend.stream_map.remove(&fd);\n                    }\n",
    },
    // Two events of one socket in a batch. As published: the second one is a panic.
    Mend {
        file: "src/vhu_vsock_thread.rs",
        old: "Self::epoll_unregister(self.epoll_file.as_raw_fd(), fd).unwrap();",
        new: "let _ = Self::epoll_unregister(self.epoll_file.as_raw_fd(), fd);",
    },
    // Bytes wait for the parent's program, and it has sent some itself. As published: only the reading is done, for which the guest's
    // buffer has no room, while the guest waits until it may write: the two ask each other for credit for ever. Now both are done.
    Mend {
        file: "src/vhu_vsock_thread.rs",
        old: "                // Unregister stream from the epoll, register when connection is\n",
        new: FLUSH,
    },
    // The host's own ports, one for each connection that it begins, counted up from 0, and a port on which it has taken a connection of the
    // guest counts as used. As published: when the count gets to one that is, nobody is let in any more until that connection ends,
    // so a hundred questions shut an enclave whose node listens on port 100. Now the count begins where Firecracker's does.
    Mend {
        file: "src/vhu_vsock_thread.rs",
        old: "            local_port: Wrapping(0),\n",
        new: "            local_port: Wrapping(1 << 30),\n",
    },
    // A packet from one guest to another that is longer than the receiver's buffer (Linux: 4 KiB, and up to 64 KiB are sent at once). As
    // published: the buffer's length is delivered, the header says the whole, and the rest is lost. Now the rest is the next packet.
    Mend { file: "src/thread_backend.rs", old: "            .ok_or(Error::EmptyRawPktsQueue)?;\n", new: SPLIT },
    Mend {
        file: "src/thread_backend.rs",
        old: "    /// Handle a new guest initiated connection, i.e from the peer, the guest\n",
        new: SPLIT_FUNCTION,
    },
    // So that nobody takes it for what was published.
    Mend { file: "Cargo.toml", old: "version = \"0.3.0\"\n", new: "version = \"0.3.0+mended.4\"\n" },
    Mend {
        file: "Cargo.lock",
        old: "name = \"vhost-device-vsock\"\nversion = \"0.3.0\"\n",
        new: "name = \"vhost-device-vsock\"\nversion = \"0.3.0+mended.4\"\n",
    },
];

const FLUSH: &str = "                match conn.tx_buf.flush_to(&mut conn.stream) {
                    Ok(written) if written > 0 => {
                        conn.fwd_cnt += Wrapping(written as u32);
                        conn.rx_queue.enqueue(RxOps::CreditUpdate);
                        self.thread_backend.backend_rxq.push_back(ConnMapKey::new(conn.local_port, conn.peer_port));
                    }
                    _ => {}
                }
                // Unregister stream from the epoll, register when connection is
";

const SPLIT: &str = "            .ok_or(Error::EmptyRawPktsQueue)?;
        let raw_vsock_pkt = match pkt.data_slice().map(|buf| buf.len()) {
            Some(room) if room > 0 && room < raw_vsock_pkt.data.len() => self.split_raw_pkt(raw_vsock_pkt, room),
            _ => raw_vsock_pkt,
        };
";

/// The header's length stands behind two CIDs and two ports (`struct virtio_vsock_hdr`).
const SPLIT_FUNCTION: &str = "    /// The first `room` bytes of a packet; the rest is the next packet.
    fn split_raw_pkt(&mut self, mut first: RawVsockPacket, room: usize) -> RawVsockPacket {
        let length = 24..28;
        let mut rest = RawVsockPacket { header: first.header, data: first.data.split_off(room) };
        rest.header[length.clone()].copy_from_slice(&(rest.data.len() as u32).to_le_bytes());
        first.header[length].copy_from_slice(&(room as u32).to_le_bytes());
        self.raw_pkts_queue.write().unwrap().push_front(rest);
        first
    }

    /// Handle a new guest initiated connection, i.e from the peer, the guest
";

/// Puts it into `FOLDER/bin`, unless it is there.
pub fn ensure(folder: &Path) -> Result<()> {
    let program = folder.join("bin").join(NAME);
    if is_ours(&program) {
        return Ok(());
    }
    debian::ensure_installed(NAME, &[Need { probe: "cc", package: "gcc" }])?;
    println!("==> {NAME} {VERSION} is missing: about three minutes on two cores, once");
    let work = folder.join("work/vsock");
    let source = mended(&work)?;
    let mut build = step::cargo();
    // Its own lock file, so that it is built of what its authors tested. What is built stays for a next try.
    build.args(["build", "--release", "--locked", "--bin", NAME, "--manifest-path"]).arg(source.join("Cargo.toml"));
    build.arg("--target-dir").arg(work.join("target"));
    step::run(&format!("build {NAME}"), &mut build).with_context(|| cause::of_cargo(folder))?;
    copy(&work.join("target/release").join(NAME), &program)?;
    ensure!(is_ours(&program), "{} was built and is not version {VERSION}", program.display());
    let _ = fs::remove_dir_all(&work);
    // Empty by now, unless a build of QEMU is still to end.
    let _ = fs::remove_dir(folder.join("work"));
    Ok(())
}

/// Whether it runs and is the mended version.
pub fn is_ours(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("{NAME} {VERSION}"))
}

/// Its source, fetched and verified by cargo, copied and mended.
fn mended(work: &Path) -> Result<PathBuf> {
    // Of these mends: another version's is of no use.
    let target = work.join(format!("source-{VERSION}"));
    if target.is_dir() {
        return Ok(target);
    }
    let staged = work.join("source.new");
    if staged.exists() {
        fs::remove_dir_all(&staged).with_context(|| format!("cannot remove {}", staged.display()))?;
    }
    copy_folder(&fetched(work)?, &staged)?;
    for mend in MENDS {
        let path = staged.join(mend.file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(text.matches(mend.old).count() == 1, "{}: expected {:?} once", path.display(), mend.old);
        fs::write(&path, text.replacen(mend.old, mend.new, 1))?;
    }
    // Else cargo takes it for a member of the workspace whose folder it lies in.
    let manifest = staged.join("Cargo.toml");
    fs::write(&manifest, fs::read_to_string(&manifest)? + "\n[workspace]\n")?;
    fs::rename(&staged, &target)?;
    Ok(target)
}

/// What is published, verified and unpacked by cargo: the dependency of a package that is nothing else.
fn fetched(work: &Path) -> Result<PathBuf> {
    let asker = work.join("asker");
    fs::create_dir_all(asker.join("src")).with_context(|| format!("cannot make {}", asker.display()))?;
    fs::write(asker.join("src/lib.rs"), "")?;
    let manifest = asker.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"asker\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[dependencies]\n{NAME} = \"={PUBLISHED}\"\n[workspace]\n"
    );
    fs::write(&manifest, text)?;
    // cargo's metadata leaves out what has no library, and its vendoring does not.
    let vendor = work.join("vendor");
    let mut fetch = step::cargo();
    fetch.args(["vendor", "--manifest-path"]).arg(&manifest).arg(&vendor);
    progress::run(
        &format!("{NAME} {PUBLISHED} from the registry"),
        &mut fetch,
        &work.join("fetch.log"),
        Progress::Time,
    )?;
    let source = vendor.join(NAME);
    ensure!(source.join("Cargo.lock").is_file(), "cargo fetched no {NAME} {PUBLISHED} into {}", vendor.display());
    Ok(source)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}
