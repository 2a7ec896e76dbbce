//! The configuration's file, and the files of measurements that are given.
use super::Case;
use super::finding::{Finding, Say};
use crate::commands::nitro::push_config::{Checked, for_an_enclave};
use crate::config::{Config, load_with_text};
use crate::failure::{Failure, Problem};
use crate::measurements::{Measurements, Register};
use crate::state::shell_word;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the other checks are about.
#[derive(Debug, Default)]
pub(super) struct Basis {
    /// The configuration, if it loads and is for an enclave, and the digest of its text.
    pub config: Option<(Config, String)>,
    /// The images of `--measurements`, each with the file that names it.
    pub images: Vec<(String, Register)>,
}

impl Basis {
    pub(super) fn config(&self) -> Option<&Config> {
        self.config.as_ref().map(|(config, _)| config)
    }
}

pub(super) fn examine(case: &Case, say: Say<'_>) -> Basis {
    let config = configuration(&case.config, say);
    permissions(&case.config, say);
    let mut images = Vec::new();
    for file in &case.measurements {
        match Measurements::read(file) {
            Ok(measurements) => {
                let (name, image) = (file.display().to_string(), measurements.image());
                say(Finding::ok("measurements", format!("{name}: PCR0 {image}")));
                images.push((name, image));
            }
            Err(failure) => errors("measurements", failure, say),
        }
    }
    Basis { config, images }
}

fn configuration(path: &Path, say: Say<'_>) -> Option<(Config, String)> {
    let (config, text) = match load_with_text(path) {
        Ok(loaded) => loaded,
        Err(error) => {
            errors("file", Failure::from(error), say);
            return None;
        }
    };
    if let Err(failure) = for_an_enclave(&config) {
        errors("file", failure, say);
        return None;
    }
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let nodes = config.chains.iter().map(|chain| chain.validators.len()).sum();
    let (chains, nodes) = (count(config.chains.len(), "chain"), count(nodes, "node"));
    say(Finding::ok("file", format!("{}: for an enclave, {chains}, {nodes}", path.display())));
    let file = Checked { config, text };
    let sha256 = file.sha256();
    // That others may open it is told as `mode`.
    for warning in file.config.warnings.iter().filter(|warning| !warning.message.starts_with(crate::config::OPEN_FILE))
    {
        let found = format!("{}:{}: {}", path.display(), warning.place, warning.message);
        say(Finding::warning("settings", found, warning.help.clone()));
    }
    if file.config.nitro.allow_debug {
        let found = "allow_debug = true: an enclave whose memory can be read may serve";
        say(Finding::note("settings", found, "remove it from [nitro] wherever a key matters"));
    }
    Some((file.config, sha256))
}

fn permissions(path: &Path, say: Say<'_>) {
    let Ok(found) = path.metadata() else { return };
    let (mode, owner) = (found.mode() & 0o7777, found.uid());
    let name = path.display();
    if mode & 0o077 == 0 {
        say(Finding::ok("mode", format!("{name}: mode {mode:04o}, of uid {owner}")));
        return;
    }
    let text = format!("{name}: others may open it: expected mode 0600, got {mode:04o}");
    let help = format!(
        "the ciphertext in it is half of what a thief needs, a right at KMS the other:\n  chmod 600 {}",
        shell_word(&name.to_string())
    );
    say(Finding::warning("mode", text, help));
}

/// A failure's problems, as errors.
pub(super) fn errors(check: &'static str, failure: Failure, say: Say<'_>) {
    for Problem { message, help } in failure.problems {
        say(Finding::error(check, message, help));
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::said;
    use super::super::tests::{CONFIG, Folder, case};
    use super::*;

    #[test]
    fn a_good_configuration_is_one_line_and_what_is_odd_in_one_is_told() {
        let folder = Folder::new();
        let mut case = case(&folder);
        folder.write("tmkms.toml", CONFIG, 0o600);
        folder.write("m.json", &format!(r#"{{"Measurements": {{"PCR0": "{}"}}}}"#, "ab".repeat(48)), 0o600);
        case.measurements = vec![folder.file("m.json")];
        let mut basis = Basis::default();
        let text = said(|say| basis = examine(&case, say));
        assert!(basis.config.is_some_and(|(_, sha256)| sha256.len() == 64) && basis.images.len() == 1);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("tmkms.toml: for an enclave, 1 chain, 1 node"), "{text}");
        assert!(lines[1].starts_with("ok mode: ") && lines[2].starts_with("ok measurements: "), "{text}");
        assert_eq!(lines.len(), 3, "{text}");

        let odd = format!("{}\n[nitro]\nallow_debug = true\n", CONFIG.replace("port = 500", "port = 5000"));
        folder.write("tmkms.toml", &odd, 0o644);
        let text = said(|say| drop(examine(&case, say)));
        assert!(
            text.contains("warning settings: ") && text.contains("any user of the parent may listen on port 5000"),
            "{text}"
        );
        assert!(text.contains("note settings: allow_debug = true"), "{text}");
        assert!(text.contains("warning mode: ") && text.contains("expected mode 0600, got 0644"), "{text}");
        assert_eq!(text.matches("others may open it").count(), 1, "{text}");
    }

    #[test]
    fn a_configuration_that_is_missing_faulty_or_a_hosts_is_an_error_and_measurements_are_still_read() {
        let folder = Folder::new();
        let mut case = case(&folder);
        case.measurements = vec![folder.file("none.json")];
        let mut basis = Basis::default();
        let text = said(|say| basis = examine(&case, say));
        assert!(basis.config.is_none() && text.contains("error file: cannot read the configuration"), "{text}");
        assert!(text.contains("error measurements: cannot read"), "{text}");

        folder.write("tmkms.toml", &CONFIG.replace("state_vsock_port = 555", "state_port = 1"), 0o600);
        let text = said(|say| drop(examine(&case, say)));
        assert!(text.contains("error file: ") && text.contains("state_port"), "{text}");

        folder.write("tmkms.toml", &CONFIG.replace(&CONFIG[CONFIG.find("[[validator]]").unwrap()..], ""), 0o600);
        let text = said(|say| drop(examine(&case, say)));
        assert!(text.contains("has no [[validator]]: there is nobody to sign for"), "{text}");
    }
}
