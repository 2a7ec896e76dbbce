//! The parent's AWS credentials: whether there are some, of whom, and how long they hold. They themselves are never shown.
use super::clock::now_ms;
use super::configuration::Basis;
use super::finding::{Finding, Say};
use crate::commands::nitro::asking::plain;
use crate::commands::nitro::status::duration;
use host::credentials::{Variables, find};
use std::time::Duration;
use wire::control::Status;

/// With less, whoever starts the enclave now may have the keys released too late.
const SOON_SECONDS: i64 = 15 * 60;

pub(super) fn examine(basis: &Basis, status: Option<&Status>, say: Say<'_>) {
    if let Some((config, _)) = &basis.config
        && !config.needs_credentials()
    {
        say(Finding::ok("on the parent", "none are needed: each key of the configuration has credentials of its own"));
    } else {
        match find(&Variables::of_process()) {
            Ok(credentials) => {
                let left = credentials.expires_at.map(|at| at.saturating_sub(now_ms() / 1000));
                on_the_parent(&credentials.source, left, say);
            }
            Err(error) => say(Finding::error("on the parent", plain_tried(&error.to_string()), plain(error.remedy()))),
        }
    }
    let Some(credentials) = status.and_then(|status| status.credentials.as_ref()) else { return };
    in_the_enclave(&credentials.source, credentials.expires_in_seconds, say);
}

/// The sources that were tried, in one line: a terminal's own words for a list.
fn plain_tried(text: &str) -> String {
    text.lines().map(|line| plain(line.trim())).collect::<Vec<_>>().join("\n")
}

fn on_the_parent(source: &str, left: Option<i64>, say: Say<'_>) {
    let found = format!("of {}, {}", plain(source), expiry(left));
    let help = "get new ones; a role's are renewed by AWS: ask again in some minutes, and see that this machine's clock is right";
    say(match left {
        Some(left) if left <= 0 => Finding::error("on the parent", found, help),
        Some(left) if left < SOON_SECONDS => Finding::warning("on the parent", found, help),
        _ => Finding::ok("on the parent", found),
    });
}

fn in_the_enclave(source: &str, left: Option<i64>, say: Say<'_>) {
    let found = format!("pushed from {}, {}", plain(source), expiry(left));
    let help = "signing goes on without; to have them renewed, let `tmkms nitro push-config --watch` run (the unit tmkms-nitro-push)";
    say(match left {
        Some(left) if left <= 0 => Finding::warning("in the enclave", found, help),
        Some(left) if left < SOON_SECONDS => Finding::note("in the enclave", found, help),
        _ => Finding::ok("in the enclave", found),
    });
}

fn expiry(left: Option<i64>) -> String {
    let length = |seconds: i64| duration(Duration::from_secs(seconds.unsigned_abs()).as_secs_f64());
    match left {
        None => "they do not expire".to_owned(),
        Some(left) if left <= 0 => format!("expired {} ago", length(left)),
        Some(left) => format!("expire in {}", length(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::said;
    use super::*;

    #[test]
    fn credentials_that_expire_soon_are_warned_of_and_expired_ones_are_an_error() {
        let parent = |left| said(|say| on_the_parent("the instance's role r", left, say));
        assert_eq!(parent(None), "ok on the parent: of the instance's role r, they do not expire\n");
        assert_eq!(parent(Some(900)), "ok on the parent: of the instance's role r, expire in 15 min\n");
        assert!(parent(Some(899)).starts_with("warning on the parent: of the instance's role r, expire in 15 min\n"));
        assert!(parent(Some(-7)).starts_with("error on the parent: of the instance's role r, expired 7 s ago\n"));
        assert!(parent(Some(i64::MIN)).starts_with("error"));
        // What runs in the enclave signs on without them.
        let enclave = |left| said(|say| in_the_enclave("x\u{1b}[2J", left, say));
        assert!(enclave(Some(i64::MAX)).starts_with("ok in the enclave: pushed from x\u{fffd}[2J, expire in "));
        assert!(enclave(Some(60)).starts_with("note") && enclave(Some(0)).starts_with("warning"));
    }
}
