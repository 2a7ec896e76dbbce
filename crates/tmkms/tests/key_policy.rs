//! The guide's chapter on the KMS key's policy shows what the command prints, to the letter.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use std::path::{Path, PathBuf};
use std::process::Command;

const PCR0: &str = "0390c515e6c00af497514f7433f72146bce48cd6d35a6015cfd7b25aa3c7d75b37b5bf8c18ecb2ffea6fc15378e1cbc1";

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn chapter() -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations-nitro.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, rest) = guide.split_once("\n## 6. ").unwrap();
    rest.split_once("\n## 7. ").unwrap().0.to_owned()
}

/// Runs a command of the guide; its stdout, and then its stderr.
fn run(line: &str, folder: &Path) -> String {
    let arguments = line.strip_prefix("tmkms ").unwrap().split_whitespace();
    let output = Command::new(env!("CARGO_BIN_EXE_tmkms")).args(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{line}: {text}");
    text
}

#[test]
fn the_guide_shows_what_is_printed_and_written() {
    let folder = Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tmkms-guide-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0).unwrap();
    let measurements = format!(r#"{{"Measurements": {{"PCR0": "{PCR0}"}}}}"#);
    std::fs::write(folder.0.join("measurements.json"), measurements).unwrap();

    let chapter = chapter();
    let mut shown = chapter.split("\n$ ").skip(1).filter(|session| session.starts_with("tmkms nitro policy "));
    let session = |text: &str| {
        let (line, rest) = text.split_once('\n').unwrap();
        (line.to_owned(), rest.split_once("```").unwrap().0.to_owned())
    };
    let (line, expected) = session(shown.next().unwrap());
    assert!(line.ends_with(" --out key-policy.json --explain"), "{line}");
    assert_eq!(run(&line, &folder.0), expected);

    let written = std::fs::read_to_string(folder.0.join("key-policy.json")).unwrap();
    let (_, rest) = chapter.split_once("```json\n").unwrap();
    assert_eq!(written, rest.split_once("```").unwrap().0);

    std::fs::copy(folder.0.join("key-policy.json"), folder.0.join("in-force.json")).unwrap();
    let (line, expected) = session(shown.next().unwrap());
    assert!(line.ends_with(" --present in-force.json"), "{line}");
    assert_eq!(run(&line, &folder.0), expected);
    assert_eq!(shown.next(), None);
}
