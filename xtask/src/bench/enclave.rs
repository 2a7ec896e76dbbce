//! The enclave's own figures: from a push to the first signature, and its memory with one chain and with many.
use super::many::Node;
use super::report::{EnclaveFigures, at_quantile};
use anyhow::{Context, Result, anyhow};
use e2e::{Enclave, EnclaveChain, Sandbox};
use std::thread;
use std::time::{Duration, Instant};

/// How long an enclave waits for its first push, so that its RSA key is made.
const BEFORE_PUSH: Duration = Duration::from_secs(2);

pub fn run(sandbox: &Sandbox, pushes: u32, chains: u32) -> Result<EnclaveFigures> {
    println!("==> {pushes} pushes to a fresh enclave, and {chains} chains in one");
    let node = Node::listen(sandbox, "push")?;
    let mut enclave = Enclave::prepare(sandbox, "push", vec![EnclaveChain::new("push", &node.address())])?;
    enclave.start_parent()?;
    let (mut millis, mut one_chain_bytes, mut height) = (vec![], 0, 0);
    for _ in 0..pushes {
        enclave.start_enclave()?;
        thread::sleep(BEFORE_PUSH);
        let started = Instant::now();
        millis.push(thread::scope(|scope| -> Result<u64> {
            let push = scope.spawn(|| enclave.push());
            let mut asker = node.accept()?;
            asker.height = height;
            asker.vote()?;
            height = asker.height;
            let micros = u64::try_from(started.elapsed().as_micros())?;
            push.join().map_err(|_| anyhow!("the push panicked"))??;
            Ok(micros)
        })?);
        let process = enclave.enclave.as_mut().context("no enclave")?;
        one_chain_bytes = one_chain_bytes.max(process.resident_bytes()?);
        process.kill();
    }
    millis.sort_unstable();
    let to_millis = |quantile| at_quantile(&millis, quantile) as f64 / 1000.0;
    Ok(EnclaveFigures {
        push_p50_ms: to_millis(0.5),
        push_max_ms: to_millis(1.0),
        one_chain_bytes,
        chains,
        many_chains_bytes: many(sandbox, chains)?,
    })
}

/// Resident memory with that many chains, each connected and asked once.
fn many(sandbox: &Sandbox, chains: u32) -> Result<u64> {
    let nodes: Vec<Node> =
        (0..chains).map(|index| Node::listen(sandbox, &format!("e{index}"))).collect::<Result<_>>()?;
    let entries = nodes.iter().map(|node| EnclaveChain::new(&node.chain_id, &node.address())).collect();
    let mut enclave = Enclave::prepare(sandbox, "many-enclave", entries)?;
    enclave.start()?;
    let mut askers: Vec<_> = nodes.iter().map(Node::accept).collect::<Result<_>>()?;
    for asker in &mut askers {
        asker.vote()?;
    }
    enclave.enclave.as_ref().context("no enclave")?.resident_bytes()
}
