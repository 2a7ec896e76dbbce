//! Debian packages that a task needs: found, or installed with a word on what and why; the backports entry is derived from this machine's own.
use crate::step;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where apt keeps its entries, and the name of ours.
const SOURCES: &str = "/etc/apt/sources.list.d";
const OURS: &str = "tmkms-nitro-backports.sources";

const NOT_ASKING: &str = "DEBIAN_FRONTEND=noninteractive";

/// Something that must be there, and the package that brings it.
pub struct Need {
    /// A command's name, or a file's absolute path.
    pub probe: &'static str,
    pub package: &'static str,
}

impl Need {
    fn is_met(&self) -> bool {
        Path::new(self.probe).is_absolute() && Path::new(self.probe).exists()
            || std::env::var_os("PATH")
                .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(self.probe).is_file()))
    }
}

/// Installs the packages of what is missing; does nothing, and asks no network, when nothing is.
pub fn ensure_installed(what_for: &str, needs: &[Need]) -> Result<()> {
    let mut packages: Vec<_> = needs.iter().filter(|need| !need.is_met()).map(|need| need.package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    ensure!(
        has_apt(),
        "{what_for} needs {}, and there is no apt-get here: install what brings them and run this again",
        packages.join(", ")
    );
    println!("==> {what_for} needs Debian packages that are missing: {}", packages.join(", "));
    if !packages.iter().all(|package| is_offered(package)) {
        apt("refresh apt's lists", &["update", "-q"])?;
    }
    if !packages.iter().all(|package| is_offered(package)) {
        add_backports()?;
    }
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(&packages);
    if apt("install Debian packages", &arguments).is_err() {
        // Lists of last week name versions that the archive has no more.
        apt("refresh apt's lists", &["update", "-q"])?;
        apt("install Debian packages", &arguments)?;
    }
    let missing: Vec<_> = needs.iter().filter(|need| !need.is_met()).map(|need| need.probe).collect();
    ensure!(missing.is_empty(), "{what_for}: {} still missing after installing {packages:?}", missing.join(", "));
    Ok(())
}

/// Adds this release's backports, unless they are there.
pub fn add_backports() -> Result<()> {
    let codename = codename()?;
    let suite = format!("{codename}-backports");
    let texts = sources();
    if texts.iter().any(|(_, text)| offers(text, &suite)) {
        return Ok(());
    }
    let entry = texts.iter().find_map(|(_, text)| backports(text, &codename)).with_context(|| {
        format!(
            "no entry for {codename} in /etc/apt/sources.list or {SOURCES}, from which one for {suite} could be made: add it by hand"
        )
    })?;
    println!("    adding {SOURCES}/{OURS}: {suite}, from where {codename} comes from");
    let staged = std::env::temp_dir().join(OURS);
    std::fs::write(&staged, entry).with_context(|| format!("cannot write {}", staged.display()))?;
    let target = format!("{SOURCES}/{OURS}");
    let path = staged.to_string_lossy().into_owned();
    let installed = privileged("add backports", "install", &["-m", "644", &path, &target]);
    let _ = std::fs::remove_file(staged);
    installed?;
    apt("refresh apt's lists", &["update", "-q"])
}

/// Entries for the source packages of this release and of its backports, from where this machine's packages come from: for an apt with lists of
/// its own.
pub fn source_entries() -> Result<String> {
    ensure!(has_apt(), "there is no apt-get here, whose source packages are needed");
    let codename = codename()?;
    let entry = sources().iter().find_map(|(_, text)| backports(text, &codename));
    let entry = entry.with_context(|| {
        format!("no entry for {codename} in /etc/apt/sources.list or {SOURCES}, from which one for its sources could be made")
    })?;
    Ok(of_sources(&entry, &codename))
}

/// Refreshes apt's lists.
pub fn refresh() -> Result<()> {
    apt("refresh apt's lists", &["update", "-q"])
}

/// The installed version of a package, or "unknown" where it did not come as a package.
pub fn version(package: &str) -> String {
    let query = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
    let found = query.ok().filter(|output| output.status.success() && !output.stdout.is_empty());
    found.map_or_else(|| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn has_apt() -> bool {
    Command::new("apt-get").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Whether apt knows a version to install.
fn is_offered(package: &str) -> bool {
    let output = Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
    output.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

fn apt(what: &str, arguments: &[&str]) -> Result<()> {
    privileged(what, "apt-get", arguments)
}

fn privileged(what: &str, program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new(program)
    } else {
        // Which passes no variable on by itself.
        let mut sudo = Command::new("sudo");
        sudo.args(["env", NOT_ASKING, program]);
        sudo
    };
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    step::run(what, &mut command)
}

/// The release's name, such as "bookworm".
fn codename() -> Result<String> {
    let text = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    match name.map(|name| name.trim_matches('"').to_owned()) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => bail!("/etc/os-release has no VERSION_CODENAME, so the backports of this release cannot be named"),
    }
}

/// apt's entries: every file with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let folder = std::fs::read_dir(SOURCES).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let wanted = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sources" || ending == "list");
    let mut paths: Vec<_> = folder.filter(wanted).collect();
    paths.sort();
    paths.insert(0, "/etc/apt/sources.list".into());
    paths.into_iter().filter_map(|path| std::fs::read_to_string(&path).ok().map(|text| (path, text))).collect()
}

/// Whether a file of entries has the suite.
fn offers(text: &str, suite: &str) -> bool {
    stanzas(text).any(|stanza| fields(&stanza, "Suites").any(|word| word == suite))
        || text.lines().filter_map(one_line).any(|entry| entry.suite == suite)
}

/// The entry for a release's backports, made from the release's own in `text`; `None` if it is not there.
fn backports(text: &str, codename: &str) -> Option<String> {
    let stanza = stanzas(text).find(|stanza| {
        fields(stanza, "Suites").any(|word| word == codename)
            && fields(stanza, "Types").any(|word| word == "deb")
            && !fields(stanza, "Enabled").any(|word| word == "no")
    });
    if let Some(stanza) = stanza {
        return Some(renamed(&stanza, codename));
    }
    let entry = text.lines().filter_map(one_line).find(|entry| entry.suite == codename)?;
    Some(entry.stanza(codename))
}

/// The paragraphs of apt's deb822 form, without comments.
fn stanzas(text: &str) -> impl Iterator<Item = String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).map(|lines| lines.join("\n")).collect::<Vec<_>>().into_iter()
}

/// The words of a field that fits on its line.
fn fields<'a>(stanza: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let of_name = move |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
    stanza
        .lines()
        .filter(of_name)
        .flat_map(|line| line.split_once(':').map_or("", |(_, words)| words).split_whitespace())
}

/// The same stanza for the backports, sources included.
fn renamed(stanza: &str, codename: &str) -> String {
    let mut out = String::new();
    for line in stanza.lines() {
        match line.split_once(':') {
            Some((key, _)) if key.eq_ignore_ascii_case("Suites") => out += &format!("Suites: {codename}-backports"),
            Some((key, _)) if key.eq_ignore_ascii_case("Types") => out += "Types: deb deb-src",
            _ => out += line,
        }
        out.push('\n');
    }
    out
}

/// An entry for the backports as two, for source packages alone: a release that has no backports has the first.
fn of_sources(entry: &str, codename: &str) -> String {
    let backports = entry.replace("Types: deb deb-src\n", "Types: deb-src\n");
    let release = backports.replace(&format!("Suites: {codename}-backports\n"), &format!("Suites: {codename}\n"));
    format!("{release}\n{backports}")
}

/// An entry of apt's older form: `deb [options] URI suite components`.
struct OneLine<'a> {
    options: Option<&'a str>,
    uri: &'a str,
    suite: &'a str,
    components: Vec<&'a str>,
}

fn one_line(line: &str) -> Option<OneLine<'_>> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(options, rest)| (Some(options), rest))?,
        None => (None, rest),
    };
    let mut words = rest.split_whitespace();
    Some(OneLine { options, uri: words.next()?, suite: words.next()?, components: words.collect() })
}

impl OneLine<'_> {
    fn stanza(&self, codename: &str) -> String {
        let signed_by =
            self.options.unwrap_or_default().split_whitespace().find_map(|word| word.strip_prefix("signed-by="));
        let mut out = format!(
            "Types: deb deb-src\nURIs: {}\nSuites: {codename}-backports\nComponents: {}\n",
            self.uri,
            self.components.join(" ")
        );
        if let Some(key) = signed_by {
            out += &format!("Signed-By: {key}\n");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "Types: deb\n# a note\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\
        Signed-By: /usr/share/keyrings/a.gpg\n\nTypes: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\n";

    #[test]
    fn backports_come_from_where_the_release_comes_from() {
        let entry = backports(NEW, "bookworm").unwrap();
        assert_eq!(
            entry,
            "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n\
             Signed-By: /usr/share/keyrings/a.gpg\n"
        );
        assert!(offers(&entry, "bookworm-backports"));
        assert!(!offers(NEW, "bookworm-backports"));
    }

    #[test]
    fn source_packages_come_from_the_release_and_its_backports() {
        let entries = of_sources(&backports(NEW, "bookworm").unwrap(), "bookworm");
        assert_eq!(
            entries,
            "Types: deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n\
             Signed-By: /usr/share/keyrings/a.gpg\n\nTypes: deb-src\nURIs: http://mirror.example/debian\n\
             Suites: bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/a.gpg\n"
        );
    }

    #[test]
    fn an_entry_of_the_older_form_is_understood() {
        let old = "# deb http://no.example/ bookworm main\ndeb-src http://mirror.example/debian bookworm main\n\
            deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib\n";
        assert_eq!(
            backports(old, "bookworm").unwrap(),
            "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main contrib\nSigned-By: /k.gpg\n"
        );
        assert!(offers("deb http://mirror.example/debian bookworm-backports main\n", "bookworm-backports"));
    }

    #[test]
    fn a_disabled_entry_and_another_release_are_no_source() {
        assert_eq!(backports(&NEW.replace("Components: main", "Enabled: no"), "bookworm"), None);
        assert_eq!(backports(NEW, "trixie"), None);
    }

    #[test]
    fn what_is_there_needs_no_package() {
        assert!(Need { probe: "sh", package: "dash" }.is_met());
        assert!(Need { probe: "/etc/passwd", package: "base-passwd" }.is_met());
        assert!(!Need { probe: "no-such-command-anywhere", package: "none" }.is_met());
        assert!(!Need { probe: "/no/such/file", package: "none" }.is_met());
    }
}
