//! What `tmkms config check` says of files that this user may not open as a signer has to.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use std::path::Path;
use std::process::{Command, Output};

/// Runs a shell's command as a user for whom a file's mode counts; none if there is no way to become one.
fn as_an_ordinary_user(command: &str, folder: &Path) -> Option<Output> {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    // Root passes over modes by two capabilities, and can give them up.
    let words: &[&str] = if is_root { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &["env"] };
    let path = format!("{}:{}", env!("CARGO_BIN_EXE_tmkms").trim_end_matches("/tmkms"), std::env::var("PATH").unwrap());
    let mut process = Command::new(words[0]);
    process.args(&words[1..]).args(["sh", "-c", command]).current_dir(folder).env("PATH", path);
    process.env_remove("TMKMS_CONFIG_FILE").output().ok()
}

#[test]
fn a_state_that_may_not_be_written_is_wrong_in_the_check_as_at_the_start() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tmkms-permissions-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // TEST KEY: 32 bytes of the letter k.
    let prepare = "umask 077; printf 'a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=' > ed.key; printf '[[chain]]\\nid = \"a-1\"\\n\
                   key_format = { type = \"hex\" }\\nstate_file = \"a.json\"\\n[[providers.softsign]]\\nchain_ids = [\"a-1\"]\\n\
                   path = \"ed.key\"\\n[[validator]]\\nchain_id = \"a-1\"\\naddr = \"unix://a.sock\"\\n' > tmkms.toml; \
                   tmkms state init --new-validator && tmkms config check && chmod 400 a.json";
    let Some(prepared) = as_an_ordinary_user(prepare, &folder) else {
        eprintln!("SKIPPED: a_state_that_may_not_be_written_… needs an ordinary user, or setpriv");
        return;
    };
    assert!(prepared.status.success(), "{prepared:?}");
    for command in ["tmkms config check", "tmkms start"] {
        let output = as_an_ordinary_user(command, &folder).unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{command}: {text}");
        assert!(text.contains("is not permitted (Permission denied"), "{command}: {text}");
        assert!(text.contains("run as the file's owner"), "{command}: {text}");
    }
    let _ = std::fs::remove_dir_all(&folder);
}
