//! The command line as data: sessions of commands with what they print and how they end.
//!
//! A session is a file in `tests/cli`: `$ command` runs in a shell in the session's own folder, what follows is its
//! stdout and then its stderr, and `? code` its exit code unless it is 0. `[..]` in a line stands for anything, and a
//! line that begins with `// ` is a comment on the command after it. `UPDATE_EXPECTED=1 cargo test …` rewrites what changed; read the difference.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        // Not in /tmp: that may be in memory, which is warned of.
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tmkms-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        // Whatever the umask: a folder that others can write is warned of.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(command: &str, folder: &Path) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_tmkms")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("TMKMS_CONFIG_FILE")
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    text.push_str(&String::from_utf8(output.stderr).unwrap());
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !output.status.success() {
        text.push_str(&format!("? {}\n", output.status.code().unwrap()));
    }
    // The session's folder has another name each time.
    text.replace(&folder.display().to_string(), "$FOLDER")
}

/// Whether a line is as expected, where `[..]` stands for anything.
fn matches(expected: &str, line: &str) -> bool {
    match expected.split_once("[..]") {
        None => expected == line,
        Some((start, rest)) => line
            .strip_prefix(start)
            .is_some_and(|tail| (0..=tail.len()).any(|at| tail.is_char_boundary(at) && matches(rest, &tail[at..]))),
    }
}

fn lines_match(expected: &str, got: &str) -> bool {
    let (expected, got): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    expected.len() == got.len() && expected.iter().zip(&got).all(|(expected, got)| matches(expected, got))
}

/// A command, the comment before it, and what is expected of it.
struct Step {
    comment: String,
    command: String,
    expected: String,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut comment = String::new();
    for line in text.lines() {
        if line.starts_with("// ") {
            comment.push_str(&format!("{line}\n"));
        } else if let Some(command) = line.strip_prefix("$ ") {
            let (comment, command) = (std::mem::take(&mut comment), command.to_owned());
            steps.push(Step { comment, command, expected: String::new() });
        } else {
            steps.last_mut().unwrap().expected.push_str(&format!("{line}\n"));
        }
    }
    steps
}

fn session(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/{name}.txt"));
    let text = std::fs::read_to_string(&file).unwrap();
    let folder = Folder::new(name);
    let (mut wrong, mut kept) = (String::new(), String::new());
    for Step { comment, command, expected } in steps(&text) {
        let got = run(&command, &folder.0);
        let is_good = lines_match(&expected, &got);
        if !is_good {
            wrong.push_str(&format!("$ {command}\nexpected:\n{expected}\ngot:\n{got}\n"));
        }
        let shown = if is_good { expected } else { got };
        kept.push_str(&format!("{comment}$ {command}\n{shown}"));
    }
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&file, kept).unwrap();
    } else {
        assert!(wrong.is_empty(), "{}:\n{wrong}", file.display());
    }
}

#[test]
fn help_teaches() {
    session("help");
}

#[test]
fn init_makes_a_folder_and_overwrites_nothing() {
    session("init");
}

#[test]
fn keys_are_made_imported_and_shown_and_never_overwritten() {
    session("keys");
}

#[test]
fn states_are_made_shown_and_repaired_by_explicit_acts() {
    session("state");
}

#[test]
fn states_travel_and_say_what_is_lost() {
    session("state-travels");
}

#[test]
fn states_for_an_enclave_are_named_by_their_files() {
    session("state-files");
}

#[test]
fn configurations_are_checked_with_their_files() {
    session("config-check");
}

#[test]
fn start_refuses_everything_that_is_wrong_at_once() {
    session("start-refuses");
}

#[test]
fn an_enclaves_configuration_is_checked_and_other_commands_name_the_one_to_use() {
    session("nitro");
}

#[test]
fn a_key_policy_is_written_explained_and_compared() {
    session("nitro-policy");
}

#[test]
fn a_wildcard_stands_for_anything_and_nothing_else_does() {
    assert!(matches("a[..]c[..]", "abbc") && matches("[..]", "") && matches("ab", "ab"));
    assert!(!matches("a[..]d", "abc") && !matches("ab", "abc") && !lines_match("a", "a\nb"));
}
