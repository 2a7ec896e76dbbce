//! The clocks: the enclave's and the parent's beside the security module's, and who keeps the parent's right.
use super::Case;
use super::finding::{Finding, Say};
use crate::commands::nitro::asking::{self, plain};
use crate::commands::nitro::status::duration;
use crate::measurements::read_text;
use base64ct::{Base64, Encoding};
use host::control_client::{Client, Target};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::control::{Answer, Request, Status};

/// Beyond it AWS takes no signature of a request.
const REFUSED_MS: u64 = 5 * 60 * 1000;
/// A clock that somebody keeps right is never so far off.
const LOOSE_MS: u64 = 5_000;
const MAX_PID_BYTES: u64 = 64;

/// Milliseconds since 1970, by this machine's clock.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn examine(case: &Case, status: Option<&Status>, say: Say<'_>) {
    let ahead = status.and_then(|status| status.machine.as_ref()?.clock_ahead_ms);
    match (status, ahead) {
        (_, Some(ahead)) => {
            let help =
                "synchronise the parent's clock (chrony), and start the enclave again: it takes its clock at the start";
            say(judge("enclave", "the enclave's clock at its start", ahead, help));
        }
        (Some(_), None) => say(Finding::skipped("enclave", "the enclave says nothing of its clock", "")),
        (None, None) => say(Finding::skipped("enclave", "the enclave could not be asked", "")),
    }
    match (&case.target, status) {
        (Some(target), Some(_)) => match ahead_of_module(target) {
            Ok(ahead) => {
                let help = "let chronyd keep it right (`systemctl enable --now chronyd`; EC2's own time server is 169.254.169.123)";
                say(judge("parent", "this machine's clock", ahead, help));
            }
            Err(why) => say(Finding::skipped("parent", why, "")),
        },
        _ => say(Finding::skipped(
            "parent",
            "there is no security module to compare with: the enclave could not be asked",
            "",
        )),
    }
    keeper(&case.root, say);
}

fn judge(check: &'static str, whose: &str, ahead_ms: i64, help: &str) -> Finding {
    let off = ahead_ms.unsigned_abs();
    let length = duration(Duration::from_millis(off).as_secs_f64());
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let found = format!("{whose} is {length} {side} the security module's");
    match off {
        0..1_000 => Finding::ok(check, format!("{whose} is within a second of the security module's")),
        1_000..LOOSE_MS => Finding::note(check, found, help),
        LOOSE_MS..REFUSED_MS => Finding::warning(check, found, help),
        _ => Finding::error(check, format!("{found}: AWS refuses what is signed more than 5 min off"), help),
    }
}

/// By how much this machine's clock is ahead of the module's, whose time stands in an attestation document. Not verified: whoever
/// can change it stands in the enclave's place.
fn ahead_of_module(target: &Target) -> Result<i64, String> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| format!("no random bytes: {error}"))?;
    let before = now_ms();
    let answer =
        Client::connect(target).and_then(|client| client.ask(&Request::Attest { nonce: nonce.to_vec() }, None));
    let after = now_ms();
    let attested = match answer.map_err(|error| plain(&error.to_string()))? {
        Answer::Attested(attested) => attested,
        Answer::Failed(failure) => return Err(format!("the enclave attests to nothing: {}", plain(&failure.reason))),
        _ => return Err(asking::unexpected().problems.remove(0).message),
    };
    let document =
        Base64::decode_vec(&attested.document).map_err(|_| "its attestation document is not base64".to_owned())?;
    let document = ::attest::Document::parse(&document).map_err(|error| plain(&error.to_string()))?;
    if document.nonce() != Some(&nonce[..]) {
        return Err("its attestation document is an old one: it does not hold the nonce".to_owned());
    }
    let module = i64::try_from(document.timestamp_ms()).unwrap_or(i64::MAX);
    Ok((before + after.saturating_sub(before) / 2).saturating_sub(module))
}

/// Who keeps the parent's clock right, as far as he leaves a sign of himself.
fn keeper(root: &Path, say: Say<'_>) {
    if root.join("run/systemd/timesync/synchronized").exists() {
        say(Finding::ok("kept by", "systemd-timesyncd, which has synchronised it since the start"));
        return;
    }
    for file in ["run/chrony/chronyd.pid", "run/chronyd.pid"] {
        let file = root.join(file);
        let text = match read_text(&file, MAX_PID_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                say(Finding::skipped(
                    "kept by",
                    format!("cannot read {}: {error}", file.display()),
                    "run this as root",
                ));
                return;
            }
            Err(_) => continue,
        };
        let pid = text.trim().parse::<u32>().ok();
        let name = pid.and_then(|pid| read_text(&root.join(format!("proc/{pid}/comm")), MAX_PID_BYTES).ok());
        say(match (pid, name.as_deref().map(str::trim)) {
            (Some(pid), Some("chronyd")) => Finding::ok("kept by", format!("chronyd, process {pid}")),
            _ => {
                let found = format!("{} names no chronyd that runs: {}", file.display(), plain(text.trim()));
                Finding::warning("kept by", found, "`systemctl restart chronyd`, and `chronyc tracking`")
            }
        });
        return;
    }
    let help = "let one keep it right: `systemctl enable --now chronyd`; nothing that protects from double signing reads a \
                clock, AWS and TLS do";
    say(Finding::skipped("kept by", "neither chronyd nor systemd-timesyncd has left a sign of itself in /run", help));
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::said;
    use super::super::tests::Folder;
    use super::*;

    #[test]
    fn a_clock_is_well_within_a_second_and_refused_after_five_minutes() {
        let of = |ahead| {
            let finding = judge("parent", "this machine's clock", ahead, "x");
            format!("{} {}", finding.verdict.name(), finding.found)
        };
        assert_eq!(of(-999), "ok this machine's clock is within a second of the security module's");
        assert_eq!(of(1_000), "note this machine's clock is 1 s ahead of the security module's");
        assert_eq!(of(-5_000), "warning this machine's clock is 5 s behind the security module's");
        assert!(of(299_999).starts_with("warning") && of(300_000).starts_with("error"));
        assert!(of(i64::MIN).starts_with("error this machine's clock is 1067519911"), "{}", of(i64::MIN));
    }

    #[test]
    fn whoever_keeps_the_clock_is_found_by_what_he_leaves_in_run() {
        let folder = Folder::new();
        let keeper = || said(|say| super::keeper(&folder.0, say));
        assert!(keeper().starts_with("skipped kept by: neither chronyd nor"));
        folder.write("run/chrony/chronyd.pid", "77\n", 0o600);
        assert!(keeper().starts_with("warning kept by: ") && keeper().contains("names no chronyd that runs: 77"));
        folder.write("proc/77/comm", "nginx\n", 0o600);
        assert!(keeper().starts_with("warning"));
        folder.write("proc/77/comm", "chronyd\n", 0o600);
        assert_eq!(keeper(), "ok kept by: chronyd, process 77\n");
        folder.write("run/chrony/chronyd.pid", "../../etc/passwd\n", 0o600);
        assert!(keeper().starts_with("warning"));
        folder.write("run/systemd/timesync/synchronized", "", 0o600);
        assert!(keeper().starts_with("ok kept by: systemd-timesyncd"));
    }
}
