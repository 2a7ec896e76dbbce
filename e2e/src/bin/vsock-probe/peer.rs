//! The guest in the enclave's place: a server that behaves as it is asked to, and `sim-enclave`, started again whenever it ends.
use crate::PARENT;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use wire::endpoint::{Listener, Parent, Stream};

/// Where it is told what to do with a connection, by the first byte.
pub const PORT: u32 = 6000;
/// Listened on, and never accepted from.
pub const DEAF_PORT: u32 = 6001;

/// Reads to the end, and only then answers with all of it, backwards.
pub const REVERSE: u8 = b'b';
/// Answers `first`, shuts its own half, and reads on.
pub const SHUT: u8 = b'w';
/// Closes with bytes unread.
pub const RESET: u8 = b'r';
/// Reads nothing for a while.
pub const SILENT: u8 = b's';
/// Sends back what comes, at once.
pub const ECHO: u8 = b'e';
/// Connects to the parent's port (four bytes follow) and answers with what it read there until the end.
pub const CONNECT: u8 = b'c';
/// Kills `sim-enclave`, which is then started again.
pub const KILL: u8 = b'k';

const SILENCE: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(3);

/// Starts the enclave for as long as this connection is held; both end together, as `/dev/nitro_enclaves` has it.
pub const HOLD: u8 = b'h';

type Enclave = Arc<Mutex<Option<Child>>>;

/// The enclave is started again whenever it ends.
pub fn run(enclave: &[&str]) -> Result<()> {
    let running = Enclave::default();
    if let [program, arguments @ ..] = enclave {
        let (running, program) = (Arc::clone(&running), (*program).to_owned());
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        thread::spawn(move || supervise(&running, &program, &arguments));
    }
    serve(&running, &[])
}

/// The enclave is started when it is asked for, and lives while whoever asked does.
pub fn run_on_demand(enclave: &[&str]) -> Result<()> {
    serve(&Enclave::default(), enclave)
}

fn serve(running: &Enclave, on_demand: &[&str]) -> Result<()> {
    let on_demand: Arc<[String]> = on_demand.iter().map(|&word| word.to_owned()).collect();
    let parent = Parent::Vsock { cid: PARENT };
    let listener = Listener::in_enclave(&parent, PORT).context("the peer's port")?;
    let _deaf = Listener::in_enclave(&parent, DEAF_PORT).context("the deaf port")?;
    println!("PEER ready");
    loop {
        let stream = listener.accept()?;
        let (running, on_demand) = (Arc::clone(running), Arc::clone(&on_demand));
        thread::spawn(move || {
            if let Err(error) = behave(stream, &running, &on_demand) {
                println!("PEER: {error:#}");
            }
        });
    }
}

fn supervise(running: &Enclave, program: &str, arguments: &[String]) {
    loop {
        match Command::new(program).args(arguments).spawn() {
            Ok(child) => *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(child),
            Err(error) => println!("PEER: {program}: {error}"),
        }
        while running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
        {
            thread::sleep(Duration::from_millis(50));
        }
        println!("PEER: the enclave has ended");
    }
}

fn behave(mut stream: Stream, running: &Enclave, on_demand: &[String]) -> Result<()> {
    let mut what = [0];
    stream.read_exact(&mut what)?;
    match what[0] {
        REVERSE => {
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            all.reverse();
            stream.write_all(&all)?;
        }
        SHUT => {
            stream.write_all(b"first")?;
            stream.shutdown(Shutdown::Write)?;
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            println!("PEER: after its own half was shut it read {} bytes", all.len());
        }
        // What is sent behind the command stays unread.
        RESET => thread::sleep(Duration::from_millis(200)),
        SILENT => thread::sleep(SILENCE),
        ECHO => echo(&mut stream)?,
        CONNECT => {
            let said = visit(&mut stream)?;
            stream.write_all(&said)?;
        }
        KILL => {
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.as_mut().context("no enclave")?.kill()?;
        }
        HOLD => held(&mut stream, running, on_demand)?,
        other => println!("PEER: unknown command {other}"),
    }
    Ok(())
}

/// Until the enclave or the connection ends, and then both have.
fn held(stream: &mut Stream, running: &Enclave, command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().context("no enclave's program")?;
    let lock = || running.lock().unwrap_or_else(PoisonError::into_inner);
    let lives = || lock().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
    if lives() {
        // As nitro-cli, where the CID is in use.
        return Ok(());
    }
    *lock() = Some(Command::new(program).args(arguments).spawn()?);
    stream.write_all(b"+")?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    while lives() && !matches!(stream.read(&mut [0]), Ok(0)) {}
    if let Some(child) = lock().as_mut() {
        let _ = child.kill();
        let _ = child.wait();
    }
    println!("PEER: the enclave has ended");
    Ok(())
}

fn echo(stream: &mut Stream) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..read])?;
    }
}

/// What a port of the parent says to us until it closes.
fn visit(stream: &mut Stream) -> Result<Vec<u8>> {
    let mut port = [0; 4];
    stream.read_exact(&mut port)?;
    let mut visited = Parent::Vsock { cid: PARENT }.connect(u32::from_be_bytes(port), PATIENCE)?;
    visited.set_read_timeout(Some(PATIENCE))?;
    let mut said = Vec::new();
    match visited.read_to_end(&mut said) {
        Ok(_) => said.push(b'.'),
        Err(error) => said.extend(format!("!{:?}", error.kind()).bytes()),
    }
    Ok(said)
}
