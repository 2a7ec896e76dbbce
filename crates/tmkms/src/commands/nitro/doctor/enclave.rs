//! The enclave, as it says itself: whether it serves, which image it is, and what it was left to the parent to choose.
use super::configuration::{Basis, errors};
use super::finding::{Finding, Say};
use super::{Case, chains};
use crate::commands::nitro::asking::{self, plain};
use crate::commands::nitro::status::duration;
use host::control_client::Client;
use wire::control::{Answer, ChosenBy, MachineStatus, Phase, Request, Status};

/// With less an enclave does not start.
const LEAST_MEMORY: u64 = 16 << 20;
/// How many of the parent's choices are told.
const MOST_CHOICES: usize = 32;

pub(super) fn examine(case: &Case, basis: &Basis, say: Say<'_>) -> Option<Status> {
    let Some(target) = &case.target else {
        say(Finding::skipped("reachable", "no enclave is named", "name it as every command does: -i CID"));
        return None;
    };
    let answer = Client::connect(target).and_then(|client| client.ask(&Request::Status, None));
    let status = match answer {
        Ok(Answer::Status(status)) => *status,
        Ok(Answer::Failed(failure)) => {
            errors("reachable", asking::failed(&failure), say);
            return None;
        }
        Ok(_) => {
            errors("reachable", asking::unexpected(), say);
            return None;
        }
        Err(error) => {
            errors("reachable", asking::unreachable(&error), say);
            return None;
        }
    };
    let up = duration(status.uptime_seconds);
    say(Finding::ok("reachable", format!("{target}: tmkms {}, up for {up}", plain(&status.version))));
    judge(&status, case, basis, say);
    chains::judge(&status, case, basis.config.as_ref().map(|(config, _)| config), say);
    Some(status)
}

fn judge(status: &Status, case: &Case, basis: &Basis, say: Say<'_>) {
    let ours = env!("CARGO_PKG_VERSION");
    if status.version != ours {
        let found = format!("the enclave's: expected {ours}, as of this program, got {}", plain(&status.version));
        say(Finding::note("version", found, "they understand each other; put both from one source at the next change"));
    }
    if status.ceremony {
        let found = "expected the signer, got a ceremony image: it makes keys, and signs nothing";
        let help = "terminate it, and start the signer's image (`nitro-cli run-enclave --eif-path`)";
        say(Finding::error("image", found, help));
    }
    phase(status, case, say);
    if status.debug {
        let found =
            "expected an enclave whose memory is closed, got one in debug mode: its console and memory can be read";
        let help = "start it without --debug-mode and --attach-console; it measures as zeros, so no good key policy releases a key to it";
        say(Finding::error("debug mode", found, help));
    } else {
        say(Finding::ok("debug mode", "off"));
    }
    measurement(status, basis, say);
    policy(status, say);
    applied(status, case, basis, say);
    match &status.machine {
        Some(machine) => of_machine(machine, say),
        None => {
            say(Finding::skipped("module", "the enclave says nothing of its machine: it is of an older version", ""));
        }
    }
    match status.log_lines_dropped {
        0 => say(Finding::ok("log", "nobody missed a line of it")),
        lost => {
            let help = format!("follow it while you look for something: `tmkms nitro logs {} -f`", case.on());
            say(Finding::note("log", format!("{lost} lines were lost before anybody read them"), help));
        }
    }
}

fn phase(status: &Status, case: &Case, say: Say<'_>) {
    let since = format!("{} for {}", asking::phase(status.phase), duration(status.phase_seconds));
    let push = format!("`tmkms nitro push-config -c {} {}`", case.config_word(), case.on());
    match status.phase {
        Phase::Serving => say(Finding::ok("phase", since)),
        Phase::Checking | Phase::Releasing | Phase::Recovering => {
            let found = format!("expected serving, got {since}: a push is being applied");
            say(Finding::warning("phase", found, "look again when it has ended"));
        }
        Phase::Starting => {
            say(Finding::warning("phase", format!("expected serving, got {since}"), "look again in some seconds"));
        }
        Phase::Waiting => {
            let help = format!("push the configuration: {push}; with --watch it is pushed again at each start");
            say(Finding::error("phase", format!("expected serving, got {since}: nothing is signed"), help));
        }
        Phase::Broken => {
            let help = "terminate it and start it again; if it comes to the same, the failure below says why";
            say(Finding::error("phase", format!("expected serving, got {since}: nothing is signed"), help));
        }
    }
    if let Some(failure) = &status.failure {
        let is_serving = status.phase == Phase::Serving;
        for problem in asking::failed(failure).problems {
            let help = if problem.help.is_empty() {
                format!("mend it, and push again: {push}; docs/operations-nitro.md, chapter 14, has each code")
            } else {
                problem.help
            };
            let code = plain(&failure.code);
            say(if is_serving {
                let found = format!("{code}: {}; what was served before goes on", problem.message);
                Finding::warning("last failure", found, help)
            } else {
                Finding::error("last failure", format!("{code}: {}", problem.message), help)
            });
        }
    }
}

fn measurement(status: &Status, basis: &Basis, say: Say<'_>) {
    let running = status.pcrs.get(&0).map(|value| plain(value));
    let own = "give --measurements with what your own build of the image printed; never take the measurement of a running enclave for it";
    let running = match running {
        Some(running) => running,
        None if status.debug => {
            say(Finding::skipped("PCR0", "in debug mode it is zeros, whatever the image", ""));
            return;
        }
        None => {
            say(Finding::error(
                "PCR0",
                "expected a measurement, got none",
                "no key policy can name such an enclave: start it again",
            ));
            return;
        }
    };
    if basis.images.is_empty() {
        say(Finding::skipped("PCR0", format!("{running}: there is nothing to compare it with"), own));
        return;
    }
    match basis.images.iter().find(|(_, image)| image.to_string().eq_ignore_ascii_case(&running)) {
        Some((file, _)) => say(Finding::ok("PCR0", format!("{running}, as in {file}"))),
        None => {
            let expected: Vec<String> = basis.images.iter().map(|(_, image)| image.to_string()).collect();
            let found = format!("another image runs: expected {}, got {running}", expected.join(" or "));
            let help = "find out who started it, and start the image of your build; do not put the running measurement into the key's policy: that \
                        releases the key to whatever runs there";
            say(Finding::error("PCR0", found, help));
        }
    }
}

fn policy(status: &Status, say: Say<'_>) {
    if !status.has_policy {
        let help = "build the image with a policy (`cargo xtask image --policy policy.toml`; docs/operations-nitro.md, chapter 5), and put its \
                    measurement into the key's policy";
        say(Finding::warning(
            "measured policy",
            "none in the image: the parent chooses KMS keys, chains and the validator's key",
            help,
        ));
        return;
    }
    say(Finding::ok("measured policy", "in the image"));
    // Records and nodes are the parent's always.
    let is_always = |what: &str| what == "state" || what.starts_with("nodes of ");
    let left = status.choices.iter().filter(|choice| choice.by == ChosenBy::Parent && !is_always(&choice.what));
    let left: Vec<String> = left.map(|choice| format!("{} ({})", plain(&choice.what), plain(&choice.value))).collect();
    if left.is_empty() {
        if status.phase == Phase::Serving {
            say(Finding::ok("choices", "nothing is the parent's to choose but records and nodes, which always are"));
        }
        return;
    }
    let more = left.len().saturating_sub(MOST_CHOICES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let found =
        format!("substitutable, chosen by whoever pushed: {}{more}", left[..left.len().min(MOST_CHOICES)].join("; "));
    say(Finding::note(
        "choices",
        found,
        "what must not be the parent's to choose belongs into the image's policy.toml",
    ));
}

/// Whether the file is what was pushed.
fn applied(status: &Status, case: &Case, basis: &Basis, say: Say<'_>) {
    let (Some(applied), Some((_, file))) = (&status.config_sha256, &basis.config) else { return };
    if applied.eq_ignore_ascii_case(file) {
        say(Finding::ok("applied", format!("the configuration of {}", case.config.display())));
        return;
    }
    let found = format!(
        "another configuration is applied: expected SHA-256 {file}, of {}, got {}",
        case.config.display(),
        plain(applied)
    );
    let help = format!(
        "if the file is right, push it (`systemctl reload tmkms-nitro-push`, or `tmkms nitro push-config -c {} {}`); if nobody of yours \
         pushed another one, find out who did",
        case.config_word(),
        case.on()
    );
    say(Finding::warning("applied", found, help));
}

fn of_machine(machine: &MachineStatus, say: Say<'_>) {
    let module = plain(&machine.module_id);
    let unsigned =
        "KMS of AWS releases no key to it; on Nitro every module signs: this is an emulation, or no Nitro enclave";
    match machine.signs_documents {
        Some(true) => say(Finding::ok("module", format!("{module} signs its documents"))),
        Some(false) => {
            say(Finding::warning(
                "module",
                format!("{module}: expected signed documents, got unsigned ones"),
                unsigned,
            ));
        }
        None => say(Finding::warning(
            "module",
            format!("{module}: expected a signed document at the start, got none"),
            unsigned,
        )),
    }
    let mib = |bytes: u64| bytes >> 20;
    let (total, left) = (mib(machine.memory_total_bytes), mib(machine.memory_available_bytes));
    let memory = format!("{left} MiB of {total} MiB are free");
    let help = "give it more (`ENCLAVE_MEMORY_MIB` in /etc/tmkms/nitro.env, `memory_mib` in the allocator's file), and start it again";
    match machine.memory_available_bytes {
        _ if machine.memory_total_bytes == 0 => {
            say(Finding::skipped("memory", "the enclave does not say how much it has", ""));
        }
        bytes if bytes < LEAST_MEMORY => {
            say(Finding::warning(
                "memory",
                format!("expected at least {} MiB, got: {memory}", mib(LEAST_MEMORY)),
                help,
            ));
        }
        _ => say(Finding::ok("memory", memory)),
    }
}

#[cfg(test)]
#[path = "enclave/tests.rs"]
mod tests;
