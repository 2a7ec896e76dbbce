//! Vote extensions: every node checks the others', and a wrong or missing signature over one stops the chain.
use anyhow::{Context, Result, ensure};
use e2e::chain::Application;
use e2e::{ChainSpec, Line, Rig, Sandbox, Transport, pool};
use serde_json::Value;
use std::time::Duration;

/// Empty, small, and past the 10,240 bytes that an answer to most nodes may have.
const SIZES: [usize; 3] = [0, 32, 12_000];

#[test]
fn extensions_of_every_size_are_signed_and_accepted_by_the_other_validator() -> Result<()> {
    let cases: Vec<(Line, usize, Transport)> = Line::WITH_EXTENSIONS
        .into_iter()
        .flat_map(|line| SIZES.map(|size| (line, size, if size == 32 { Transport::Tcp } else { Transport::Unix })))
        .collect();
    let names: Vec<String> =
        cases.iter().map(|(line, size, transport)| format!("{line} over {transport}, {size} bytes")).collect();
    let results = pool::run(&cases, pool::cores(), |(line, size, transport)| two_validators(*line, *size, *transport));
    pool::report("vote extensions, two validators: heights reached", &names, results)
}

fn two_validators(line: Line, size: usize, transport: Transport) -> Result<String> {
    Sandbox::run(&format!("ext-{}-{size}", line.name()), |sandbox| {
        let application = Application::Extensions(size);
        // With two of equal power both must sign: each block proves that the other accepted our extension.
        let spec = ChainSpec { validators: 2, application, ..ChainSpec::new(line, transport) };
        let mut rig = Rig::start(sandbox, "chain", spec)?;
        let height = rig.chain.reach(15, Duration::from_secs(90))?;
        rig.expect_clean()?;
        let address = rig.chain.address().to_owned();
        let events = rig.chain.node(1).events();
        let verified = events.iter().filter(|event| is_verified(event, &address, size)).count();
        ensure!(verified >= 8, "the other validator verified only {verified} of our extensions of {size} bytes");
        let commits: Vec<&Value> = events.iter().filter(|event| event["event"] == "extended_commit").collect();
        let commit = commits.first().context("the other validator never proposed with an extended commit")?;
        ensure!(bears_extension(commit, &address, size), "no extension of ours in {commit}");
        Ok(format!("height {height}, {verified} extensions verified by the other validator"))
    })
}

fn is_verified(event: &Value, address: &str, size: usize) -> bool {
    event["event"] == "verify"
        && event["accepted"] == true
        && event["extension_bytes"] == size
        && event["address"].as_str().is_some_and(|text| text.eq_ignore_ascii_case(address))
}

fn bears_extension(commit: &Value, address: &str, size: usize) -> bool {
    commit["votes"].as_array().into_iter().flatten().any(|vote| {
        vote["address"].as_str().is_some_and(|text| text.eq_ignore_ascii_case(address))
            && vote["extension_bytes"] == size
            && vote["extension_signature"].as_str().is_some_and(|text| text.len() == 128)
    })
}
