//! The systemd units of `packaging/`, as they would be installed: what systemd itself says of them, and whether they fit our commands.
use anyhow::{Context, Result, ensure};
use e2e::Sandbox;
use e2e::signer::binary;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The units with the exposure that `systemd-analyze security` may find at most, in tenths, and why it is not less.
const UNITS: [(&str, u32); 7] = [
    // Sockets of every usual family, a group, and its own user's files.
    ("tmkms.service", 16),
    // Root with CAP_NET_BIND_SERVICE: states and token are root's, the port is below 1024.
    ("tmkms-nitro-persist.service", 18),
    // CAP_NET_BIND_SERVICE, AF_INET and AF_NETLINK: a low port, names that are looked up, any address.
    ("tmkms-nitro-proxy@.service", 20),
    ("tmkms-nitro-proxy-kms.service", 20),
    // Root without a capability: configuration, token and credentials are root's; the metadata service is on the network.
    ("tmkms-nitro-push.service", 22),
    ("tmkms-nitro-metrics.service", 18),
    // nitro-cli is AWS's, and wants devices, hugepages and /sys.
    ("tmkms-enclave.service", 46),
];

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// An instance, where the unit is a template: only instances can be checked.
fn instance(unit: &str) -> String {
    unit.replace("@.", "@cosmoshub-4.")
}

/// A root folder with everything of `packaging/` where the guides put it, programs in the places that the units name, and systemd's own targets.
fn installed(sandbox: &Sandbox) -> Result<PathBuf> {
    let root = sandbox.dir().join("root");
    let place = |from: &Path, to: &str, mode: u32| -> Result<()> {
        let to = root.join(to);
        fs::create_dir_all(to.parent().context("no folder")?)?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(fs::set_permissions(&to, fs::Permissions::from_mode(mode))?)
    };
    for entry in fs::read_dir(packaging())? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            place(&path, &format!("etc/systemd/system/{name}"), 0o644)?;
        }
    }
    for folder in ["sysusers.d", "tmpfiles.d"] {
        for entry in fs::read_dir(packaging().join(folder))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            place(&path, &format!("etc/{folder}/{name}"), 0o644)?;
        }
    }
    for target in ["sysinit", "basic", "shutdown", "network-online", "multi-user"] {
        let name = format!("usr/lib/systemd/system/{target}.target");
        place(&Path::new("/").join(&name), &name, 0o644)?;
    }
    for program in ["usr/local/bin/tmkms", "usr/bin/nitro-cli", "bin/kill"] {
        place(Path::new("/bin/true"), program, 0o755)?;
    }
    Ok(root)
}

fn run(program: &str, root: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(program);
    command.arg(format!("--root={}", root.display())).args(arguments);
    command.output().with_context(|| format!("cannot run {program}: install the package systemd (it need not run)"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_has_nothing_to_say_against_any_unit() -> Result<()> {
    Sandbox::run("units-verify", |sandbox| {
        let root = installed(sandbox)?;
        let units = UNITS.iter().map(|(unit, _)| instance(unit)).chain(["tmkms-nitro.target".to_owned()]);
        for unit in units {
            let output = run("systemd-analyze", &root, &["verify", "--man=no", &unit])?;
            ensure!(output.status.success() && said(&output).trim().is_empty(), "{unit}: {}", said(&output));
        }
        // The check can fail: a setting that does not exist is seen.
        let broken = root.join("etc/systemd/system/tmkms-nitro-metrics.service");
        fs::write(&broken, read(&broken)?.replace("RestartSec=1", "RestartSecs=1"))?;
        let output = run("systemd-analyze", &root, &["verify", "--man=no", "tmkms-nitro-metrics.service"])?;
        ensure!(said(&output).contains("RestartSecs"), "a misspelt setting is not seen: {}", said(&output));
        Ok(())
    })
}

#[test]
fn no_unit_is_exposed_more_than_what_it_needs_explains() -> Result<()> {
    Sandbox::run("units-security", |sandbox| {
        let root = installed(sandbox)?;
        for (unit, most) in UNITS {
            let unit = instance(unit);
            let threshold = format!("--threshold={most}");
            let output = run("systemd-analyze", &root, &["security", "--offline=true", &threshold, &unit])?;
            let overall = said(&output).lines().last().unwrap_or_default().trim().to_owned();
            ensure!(output.status.success(), "{unit}: more than {most} tenths: {overall}");
            e2e::say(&overall);
        }
        Ok(())
    })
}

#[test]
fn folders_and_groups_are_made_with_the_modes_of_the_guides() -> Result<()> {
    Sandbox::run("units-files", |sandbox| {
        let root = installed(sandbox)?;
        let own = Command::new("id").args(["-un"]).output()?;
        let root_only = String::from_utf8_lossy(&own.stdout).trim() == "root";
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nnode:x:1001:1001::/:/bin/sh\n")?;
        fs::write(root.join("etc/group"), "root:x:0:\nnode:x:1001:\n")?;
        let output = run("systemd-sysusers", &root, &[])?;
        let groups = read(&root.join("etc/group"))?;
        ensure!(output.status.success() && groups.contains("privval:x:"), "{}\n{groups}", said(&output));
        ensure!(read(&root.join("etc/passwd"))?.contains("/var/lib/tmkms"), "the signer's user was not made");
        ensure!(groups.lines().any(|line| line.starts_with("privval:") && line.ends_with("tmkms")), "{groups}");
        if !root_only {
            e2e::say("not root: the folders of tmpfiles.d are not tried");
            return Ok(());
        }
        let output = run("systemd-tmpfiles", &root, &["--create"])?;
        ensure!(output.status.success(), "{}", said(&output));
        let expected =
            [("etc/tmkms", 0o700), ("etc/tmkms/nodes", 0o700), ("var/lib/tmkms", 0o700), ("run/privval", 0o2750)];
        for (folder, mode) in expected {
            let found = fs::metadata(root.join(folder)).with_context(|| format!("{folder} was not made"))?;
            ensure!(found.permissions().mode() & 0o7777 == mode, "{folder}: {:o}", found.permissions().mode());
        }
        ensure!(!root.join("var/lib/tmkms/states").exists(), "the states' folder is a person's to make");
        Ok(())
    })
}

/// `NAME=value` lines of an environment file.
fn settings(name: &str) -> Result<BTreeMap<String, String>> {
    let text = read(&packaging().join("env").join(name))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').with_context(|| format!("no setting: {line}"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The words of a command line, with variables as systemd has them: `${A}` is one word, `$A` as many as it has. Gives those used, too.
fn words(line: &str, settings: &BTreeMap<String, String>) -> Result<(Vec<String>, BTreeSet<String>)> {
    let (mut words, mut used) = (Vec::new(), BTreeSet::new());
    for word in line.split_whitespace() {
        let Some(rest) = word.strip_prefix('$') else {
            words.push(word.to_owned());
            continue;
        };
        let name = rest.trim_start_matches('{').trim_end_matches('}');
        if name == "MAINPID" {
            continue;
        }
        let value = settings.get(name).with_context(|| format!("{name} is in no environment file"))?;
        used.insert(name.to_owned());
        match rest.starts_with('{') {
            true => words.push(value.clone()),
            false => words.extend(value.split_whitespace().map(str::to_owned)),
        }
    }
    Ok((words, used))
}

/// Every `Exec…=` of a unit.
fn commands(unit: &str) -> Result<Vec<String>> {
    let text = read(&packaging().join(unit))?;
    let commands = text.lines().filter(|line| line.starts_with("Exec"));
    Ok(commands.filter_map(|line| line.split_once('=').map(|(_, command)| command.to_owned())).collect())
}

#[test]
fn every_setting_is_used_and_every_command_line_is_one_of_ours() -> Result<()> {
    let mut all = settings("nitro.env")?;
    all.extend(settings("node.env")?);
    let mut seen = BTreeSet::new();
    for (unit, _) in UNITS {
        for command in commands(unit)? {
            let (words, used) = words(&command, &all).with_context(|| unit.to_owned())?;
            seen.extend(used);
            if words[0] != "/usr/local/bin/tmkms" {
                continue;
            }
            // The command line is read up to --help, which comes last: an unknown option or a bad value is an error before it.
            let output = Command::new(binary()?).args(&words[1..]).arg("--help").output()?;
            ensure!(output.status.success(), "{unit}: {}: {}", words.join(" "), said(&output));
            let output = Command::new(binary()?).args(&words[1..]).args(["--no-such-option", "--help"]).output()?;
            ensure!(output.status.code() == Some(2), "{unit}: an option that does not exist is not seen");
        }
    }
    let unused: Vec<_> = all.keys().filter(|name| !seen.contains(*name)).collect();
    ensure!(unused.is_empty(), "set, and used by no unit: {unused:?}");
    Ok(())
}

#[test]
fn what_keeps_a_validator_signing_is_always_tried_again() -> Result<()> {
    for (unit, _) in UNITS {
        let text = read(&packaging().join(unit))?;
        ensure!(text.contains("\nStartLimitIntervalSec=0\n"), "{unit}: systemd would give up");
        let restart = if unit == "tmkms.service" { "on-failure" } else { "always" };
        ensure!(text.contains(&format!("\nRestart={restart}\n")), "{unit}: expected Restart={restart}");
        ensure!(
            text.contains("\nLimitCORE=0\n") && text.contains("\nNoNewPrivileges=yes\n"),
            "{unit}: core, privileges"
        );
        // What one needs it waits for or tries again. Nothing may be pulled down, or run anew, by another one's end.
        for word in ["Requires=", "BindsTo=", "Requisite=", "Conflicts=", "Wants=nitro", "Wants=tmkms"] {
            ensure!(!text.contains(&format!("\n{word}")), "{unit}: {word}");
        }
    }
    Ok(())
}

#[test]
fn the_guides_name_every_file_of_packaging() -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let guides = read(&docs.join("operations.md"))? + &read(&docs.join("operations-nitro.md"))?;
    for (unit, _) in UNITS {
        ensure!(guides.contains(unit.trim_end_matches(".service")), "no guide names {unit}");
    }
    for file in ["env/nitro.env", "env/node.env", "sysusers.d/tmkms.conf", "sysusers.d/tmkms-nitro.conf"] {
        ensure!(
            packaging().join(file).is_file() && guides.contains(&format!("packaging/systemd/{file}")),
            "no guide names {file}"
        );
    }
    Ok(())
}
