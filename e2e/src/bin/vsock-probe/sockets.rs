//! `wire::endpoint` over true vsock: what becomes of connections, and who may make one.
use crate::peer::{self, CONNECT, ECHO, RESET, REVERSE, SHUT, SILENT};
use crate::{ENCLAVE, PARENT, check};
use anyhow::{Context, Result, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use wire::endpoint::{Enclave, Listener, Parent, Stream};

const SOON: Duration = Duration::from_secs(5);
/// Two emulated guests on a busy host: what is at once may take this long.
const SLOW: Duration = Duration::from_secs(4);
const NOBODY: u32 = 65_534;
/// A port that the test on the host connects to, from CID 2.
const HOSTS_PORT: u32 = 7003;

fn enclave() -> Enclave {
    Enclave::Vsock { cid: ENCLAVE }
}

fn ask(what: u8) -> Result<Stream> {
    let mut stream = enclave().connect(peer::PORT, SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    stream.write_all(&[what])?;
    Ok(stream)
}

/// What the peer reads at a port of ours.
fn visit(port: u32) -> Result<String> {
    let mut stream = ask(CONNECT)?;
    stream.write_all(&port.to_be_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

/// Asks the test on the host to do something, and waits until it connects to us, which is refused: it is CID 2.
pub fn host(what: &str, within: Duration) -> Result<()> {
    let listener = Listener::on_parent(None, HOSTS_PORT)?;
    println!("HOST {what}");
    let until = Instant::now() + within;
    while listener.refused() == 0 {
        ensure!(listener.accept_within(Duration::from_millis(200))?.is_none(), "CID 2 was accepted");
        ensure!(Instant::now() < until, "the host did not connect within {within:?}");
    }
    Ok(())
}

pub fn connecting() {
    check("a port that nobody listens on refuses at once, and says whose it is", || {
        let begun = Instant::now();
        let error = enclave().connect(6999, SOON).err().context("it connected")?;
        ensure!(error.kind() == ErrorKind::ConnectionRefused, "{:?}: {error}", error.kind());
        ensure!(begun.elapsed() < SLOW, "after {:?}", begun.elapsed());
        ensure!(error.to_string().contains("port 6999 of CID 16"), "{error}");
        Ok(error.to_string())
    });
    check("a CID that is nobody's ends within the limit that was given", || {
        let begun = Instant::now();
        let error =
            Enclave::Vsock { cid: 99 }.connect(6000, Duration::from_millis(300)).err().context("it connected")?;
        ensure!(error.kind() == ErrorKind::TimedOut, "{:?}: {error}", error.kind());
        // Ours: the kernel's has its number.
        ensure!(begun.elapsed() < SLOW && error.raw_os_error().is_none(), "{error}");
        Ok(format!("{error} after {} ms", begun.elapsed().as_millis()))
    });
    check("a CID that is nobody's ends by the kernel's own limit where ours is longer", || {
        let begun = Instant::now();
        let error = Enclave::Vsock { cid: 99 }.connect(6000, Duration::from_secs(20)).err().context("it connected")?;
        ensure!(error.kind() == ErrorKind::TimedOut, "{:?}: {error}", error.kind());
        ensure!(begun.elapsed() < Duration::from_secs(15), "after {:?}", begun.elapsed());
        Ok(format!("{error} after {} ms", begun.elapsed().as_millis()))
    });
    check("who listens and never accepts is noticed by the read's time-out", || {
        let mut stream = enclave().connect(peer::DEAF_PORT, SOON)?;
        stream.set_read_timeout(Some(Duration::from_millis(400)))?;
        let begun = Instant::now();
        let error = stream.read(&mut [0]).err().context("it read")?;
        ensure!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{:?}", error.kind());
        ensure!(begun.elapsed() < SLOW, "after {:?}", begun.elapsed());
        Ok(format!("{:?} after {} ms", error.kind(), begun.elapsed().as_millis()))
    });
    check("a listener whose queue is full refuses, and says that it may be so", || {
        let mut waiting = Vec::new();
        let begun = Instant::now();
        let error = loop {
            match enclave().connect(peer::DEAF_PORT, SOON) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            ensure!(waiting.len() < 1000 && begun.elapsed() < Duration::from_secs(60), "{} connected", waiting.len());
        };
        ensure!(error.kind() == ErrorKind::ConnectionRefused, "{:?}: {error}", error.kind());
        ensure!(error.to_string().contains("too many wait"), "{error}");
        Ok(format!("after {} connections: {error}", waiting.len()))
    });
}

pub fn streams() {
    check("half a connection is shut, and the other half goes on", || {
        let mut stream = ask(REVERSE)?;
        stream.write_all(b"tekcos")?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer == "socket", "{answer:?}");
        let error = stream.write(b"x").err().context("a write after the shutdown went through")?;
        ensure!(error.kind() == ErrorKind::BrokenPipe, "{:?}", error.kind());
        Ok("answered after its end was read".to_owned())
    });
    check("who shuts its own half is still written to", || {
        let mut stream = ask(SHUT)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer == "first", "{answer:?}");
        stream.write_all(&[7; 1000])?;
        Ok("1000 bytes after the peer's end".to_owned())
    });
    check("a peer that closes with bytes unread breaks the connection, and nothing waits", || {
        let mut stream = ask(RESET)?;
        stream.write_all(&[7; 32 << 10])?;
        let begun = Instant::now();
        let read = stream.read(&mut [0]);
        ensure!(
            matches!(&read, Ok(0)) || matches!(&read, Err(error) if error.kind() == ErrorKind::ConnectionReset),
            "{read:?}"
        );
        thread::sleep(Duration::from_millis(300));
        let error = stream.write(&[7]).err().context("a write went through")?;
        ensure!(
            matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected),
            "{:?}",
            error.kind()
        );
        ensure!(begun.elapsed() < Duration::from_secs(2), "after {:?}", begun.elapsed());
        Ok(format!("read {read:?}, then write {:?}", error.kind()))
    });
    check("a peer that does not read ends a write by its time-out", || {
        let mut stream = ask(SILENT)?;
        stream.set_write_timeout(Some(Duration::from_millis(500)))?;
        let (begun, mut sent) = (Instant::now(), 0_u64);
        let error = loop {
            match stream.write(&[7; 32 << 10]) {
                Ok(count) => sent += count as u64,
                Err(error) => break error,
            }
            ensure!(sent < 64 << 20, "the peer took it all");
        };
        ensure!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{:?}", error.kind());
        ensure!(begun.elapsed() < SLOW, "after {:?}", begun.elapsed());
        Ok(format!("{:?} after {} KiB and {} ms", error.kind(), sent >> 10, begun.elapsed().as_millis()))
    });
    check("four megabytes go out and come back whole, both directions at once", four_megabytes);
}

fn four_megabytes() -> Result<String> {
    let mut stream = ask(ECHO)?;
    let sent: Vec<u8> = (0..4_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut writer = stream.try_clone()?;
    let (begun, copy) = (Instant::now(), sent.clone());
    let writing = thread::spawn(move || writer.write_all(&copy).and_then(|()| writer.shutdown(Shutdown::Write)));
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    writing.join().ok().context("the writer panicked")??;
    ensure!(back == sent, "{} of {} bytes came back, or others", back.len(), sent.len());
    Ok(format!("in {} ms", begun.elapsed().as_millis()))
}

/// Listens, has somebody connect, and gives what the listener made of it: whether it accepted, and how many it refused.
fn listened(only: Option<u32>, port: u32, connect: impl FnOnce() -> Result<String>) -> Result<(bool, u64, String)> {
    let only = only.map(|cid| Enclave::Vsock { cid });
    let listener = Listener::on_parent(only.as_ref(), port)?;
    thread::scope(|scope| {
        let accepting = scope.spawn(|| -> Result<bool> {
            let Some(mut stream) = listener.accept_within(Duration::from_secs(5))? else { return Ok(false) };
            stream.write_all(b"hello")?;
            Ok(true)
        });
        let said = connect()?;
        let accepted = accepting.join().ok().context("the listener panicked")??;
        Ok((accepted, listener.refused(), said))
    })
}

pub fn listening() {
    check("the enclave is accepted where it is named, and where any is", || {
        for (only, port) in [(Some(ENCLAVE), 7000), (None, 7001), (Some(ENCLAVE), 701)] {
            let (accepted, refused, said) = listened(only, port, || visit(port))?;
            ensure!(
                accepted && refused == 0 && said == "hello.",
                "{only:?} on {port}: {accepted}, {refused}, {said:?}"
            );
        }
        Ok("by CID, by any, and below 1024 as root".to_owned())
    });
    check("another enclave than the one that is named is hung up on", || {
        let (accepted, refused, said) = listened(Some(17), 7002, || visit(7002))?;
        ensure!(!accepted && refused == 1 && !said.contains("hello"), "{accepted}, {refused}, {said:?}");
        Ok(format!("refused, it read {said:?}"))
    });
    check("a process of the same machine is hung up on, by the loopback's CID and by our own", || {
        for (own, port) in [(1, 7004), (PARENT, 7005)] {
            let (accepted, refused, said) = listened(None, port, || {
                let mut stream = Parent::Vsock { cid: own }.connect(port, SOON)?;
                stream.set_read_timeout(Some(SOON))?;
                let mut said = String::new();
                let _ = stream.read_to_string(&mut said);
                Ok(said)
            })
            .with_context(|| format!("through CID {own}"))?;
            ensure!(!accepted && refused == 1 && said.is_empty(), "CID {own}: {accepted}, {refused}, {said:?}");
        }
        Ok("refused both times".to_owned())
    });
    check("the hypervisor's side (CID 2) is hung up on", || {
        host("connect", Duration::from_secs(30)).map(|()| "refused".to_owned())
    });
    check("a port in use is said to be", || {
        let _first = Listener::on_parent(None, 7006)?;
        let error = Listener::on_parent(None, 7006).err().context("it listens twice")?;
        ensure!(error.kind() == ErrorKind::AddrInUse && error.to_string().contains("7006 is in use"), "{error}");
        Ok(error.to_string())
    });
    check("a port is free again as soon as its listener is gone", || {
        for _ in 0..3 {
            drop(Listener::on_parent(None, 7007)?);
        }
        Ok("three times".to_owned())
    });
    check("a listener that is stopped ends its waiting", || {
        let listener = Listener::on_parent(None, 7008)?;
        let stopper = listener.stopper();
        let begun = Instant::now();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            stopper.stop();
        });
        let error = listener.accept().err().context("it accepted")?;
        ensure!(error.kind() == ErrorKind::NotConnected && begun.elapsed() < Duration::from_secs(2), "{error}");
        Ok(format!("after {} ms", begun.elapsed().as_millis()))
    });
    check("below 1024 an ordinary user is refused with what it takes, above it is not", || {
        let own = std::env::current_exe()?;
        let run = |port: &str| Command::new(&own).args(["listen", port]).uid(NOBODY).gid(NOBODY).output();
        let (low, high) = (run("702")?, run("7009")?);
        let said = String::from_utf8_lossy(&low.stdout).trim().to_owned();
        ensure!(!low.status.success() && said.contains("PermissionDenied"), "{said}");
        ensure!(said.contains("702 is below 1024") && said.contains("CAP_NET_BIND_SERVICE"), "{said}");
        ensure!(high.status.success(), "{}", String::from_utf8_lossy(&high.stdout));
        Ok(said)
    });
}
