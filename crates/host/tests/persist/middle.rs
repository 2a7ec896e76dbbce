//! Someone between the enclave and its parent, who sees and changes everything and knows no token.
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// What happens to the next request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Both pass.
    Pass,
    /// The connection is cut before the request is passed on.
    LoseRequest,
    /// The connection is cut after the parent has answered.
    LoseAnswer,
    /// Of the answer so many bytes pass, then the connection is cut.
    Truncate(usize),
    /// The answer passes twice.
    Duplicate,
    /// The answer is changed in one bit.
    Flip(usize),
    /// In the place of the answer an earlier one passes, counted back from the last.
    Replay(usize),
    /// The request passes twice, and both answers.
    Twice,
    /// The request is kept; see [`Middle::release`].
    Hold,
}

#[derive(Default)]
struct Shared {
    acts: VecDeque<Act>,
    answers: Vec<Vec<u8>>,
    held: Vec<(UnixStream, Vec<u8>)>,
    /// Exchanged in passing: bytes of every request.
    exchange: Option<(Vec<u8>, Vec<u8>)>,
}

/// Listens like a parent, and passes on to another.
#[derive(Clone)]
pub struct Middle(Arc<Mutex<Shared>>);

impl Middle {
    pub fn start(listen: &Path, parent: &Path) -> Self {
        let listener = UnixListener::bind(listen).unwrap();
        let parent = parent.to_owned();
        let middle = Self(Arc::default());
        let shared = middle.clone();
        thread::spawn(move || {
            for enclave in listener.incoming() {
                let (shared, parent, enclave) = (shared.clone(), parent.clone(), enclave.unwrap());
                thread::spawn(move || {
                    if let Ok(parent) = UnixStream::connect(&parent) {
                        let _ = shared.pass(&enclave, &parent);
                        let _ = parent.shutdown(Shutdown::Both);
                    }
                    let _ = enclave.shutdown(Shutdown::Both);
                });
            }
        });
        middle
    }

    /// What to do with the next requests; those after that pass.
    pub fn will(&self, acts: impl IntoIterator<Item = Act>) {
        let mut shared = self.0.lock().unwrap();
        shared.acts.clear();
        shared.acts.extend(acts);
    }

    pub fn exchange(&self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len());
        self.0.lock().unwrap().exchange = Some((from.to_vec(), to.to_vec()));
    }

    /// Passes on what was held, and gives what is answered.
    pub fn release(&self) -> Vec<Option<Vec<u8>>> {
        let held = std::mem::take(&mut self.0.lock().unwrap().held);
        held.into_iter()
            .map(|(mut parent, request)| write(&mut parent, &request).ok().and_then(|()| read(&mut parent).ok()))
            .collect()
    }

    fn pass(&self, mut enclave: &UnixStream, mut parent: &UnixStream) -> std::io::Result<()> {
        hello(&mut enclave, &mut parent)?;
        hello(&mut parent, &mut enclave)?;
        loop {
            let mut request = read(&mut enclave)?;
            let mut shared = self.0.lock().unwrap();
            if let Some((from, to)) = &shared.exchange
                && let Some(at) = request.windows(from.len()).position(|window| window == from)
            {
                request[at..at + to.len()].copy_from_slice(to);
            }
            let act = shared.acts.pop_front().unwrap_or(Act::Pass);
            if act == Act::LoseRequest {
                return Ok(());
            }
            if act == Act::Hold {
                shared.held.push((parent.try_clone()?, request));
                drop(shared);
                // Until the enclave gives up.
                let mut rest = [0; 1];
                let _ = enclave.read(&mut rest);
                // The parent's side stays open as long as this thread sleeps: to the end.
                loop {
                    thread::park();
                }
            }
            drop(shared);
            write(&mut parent, &request)?;
            let answer = read(&mut parent)?;
            let mut shared = self.0.lock().unwrap();
            shared.answers.push(answer.clone());
            let earlier = |back: usize| shared.answers.iter().rev().nth(back).cloned().unwrap_or_default();
            match act {
                Act::Pass | Act::LoseRequest | Act::Hold => write(&mut enclave, &answer)?,
                Act::LoseAnswer => return Ok(()),
                Act::Truncate(bytes) => {
                    let whole = framed(&answer);
                    enclave.write_all(&whole[..bytes.min(whole.len() - 1)])?;
                    return Ok(());
                }
                Act::Duplicate => enclave.write_all(&[framed(&answer), framed(&answer)].concat())?,
                Act::Flip(bit) => {
                    let mut answer = answer;
                    let bit = bit % (answer.len() * 8);
                    answer[bit / 8] ^= 1 << (bit % 8);
                    write(&mut enclave, &answer)?;
                }
                Act::Replay(back) => write(&mut enclave, &earlier(back))?,
                Act::Twice => {
                    drop(shared);
                    write(&mut parent, &request)?;
                    let second = read(&mut parent)?;
                    enclave.write_all(&[framed(&answer), framed(&second)].concat())?;
                }
            }
        }
    }
}

fn hello(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut head = [0; 40];
    from.read_exact(&mut head)?;
    let mut software = vec![0; usize::from(head[39])];
    from.read_exact(&mut software)?;
    to.write_all(&[&head[..], &software].concat())
}

fn framed(frame: &[u8]) -> Vec<u8> {
    [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat()
}

fn write(to: &mut impl Write, frame: &[u8]) -> std::io::Result<()> {
    to.write_all(&framed(frame))
}

fn read(from: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let frame = wire::frame::read(from, 1 << 16)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok(frame.to_vec())
}
