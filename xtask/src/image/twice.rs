//! `--twice`: the image is built a second time from a clone, elsewhere and by somebody else, and the bytes are compared.
//!
//! The first build is that of this checkout if nothing in it differs from HEAD, so that it is not thrown away; otherwise a
//! clone too. Nothing is shared but the machine's compilers and the downloaded crates' files, whose digests cargo checks. The
//! kernel's second build is made once for each source and configuration, and its proof is kept beside it.
use super::binary::{Binary, Build, Kind};
use super::kernel::{self, Kernel};
use super::toolchain::cargo_home;
use super::{Args, Made, output, sha256, tool, write};
use crate::step;
use ::image::difference;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's `nobody`: somebody who is not the one that runs this.
const NOBODY: &str = "65534";

/// Somebody else's ways, each of which has changed other programs' builds.
const WAYS: [(&str, &str); 5] = [
    ("TZ", "Pacific/Kiritimati"),
    ("LC_ALL", "C.UTF-8"),
    ("LANG", "tr_TR.UTF-8"),
    ("USER", "somebody"),
    ("SOURCE_DATE_EPOCH", "1234567890"),
];

pub fn run(args: &Args) -> Result<()> {
    args.chosen.check()?;
    let work = Work::new()?;
    let tool = tool::ensure()?;
    let kernel = kernel::ensure()?;
    let first = work.first(args.chosen.kind())?;
    let second = work.second(args.chosen.kind())?;
    let again = work.second_kernel(&kernel)?;
    println!(
        "    the program took {:.0} s the first time and {:.0} s from nothing in the other clone",
        first.seconds, second.seconds
    );
    let one = Made::write(args, &tool, &kernel, &first, &work.0.join("one"))?;
    let other = Made::write(args, &tool, again.as_ref().unwrap_or(&kernel), &second, &work.0.join("two"))?;
    for (name, made) in [("first", &one), ("second", &other)] {
        made.measurements.registers().for_each(|(register, value)| println!("    {name:<6} {register}  {value}"));
    }
    if let Some(difference) = difference(&one.parts, &other.parts) {
        work.keep();
        bail!("two builds of one source differ: {difference}\nboth are kept in {}", one.folder.display());
    }
    let bytes = [&one, &other].map(|made| std::fs::read(made.folder.join(args.chosen.kind().file())));
    let [one, other] = bytes;
    ensure!(
        one? == other?,
        "two builds have the same parts, and their files differ: the tool that writes them is to blame"
    );
    if again.is_some() {
        write(&proof(&kernel), kernel.image_sha256.as_bytes())?;
    }
    println!("    two builds in two folders by two users: the same bytes");
    Ok(())
}

/// Where it is kept that a kernel came out twice.
fn proof(kernel: &Kernel) -> PathBuf {
    kernel.image.with_file_name("reproduced")
}

/// A folder for the other clone, which goes when it is dropped.
struct Work(PathBuf, std::cell::Cell<bool>);

impl Work {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tmkms-twice-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder, std::cell::Cell::new(false)))
    }

    fn keep(&self) {
        self.1.set(true);
    }

    fn first(&self, kind: Kind) -> Result<Binary> {
        let root = step::root();
        let changed = output(Command::new("git").arg("-C").arg(&root).args(["status", "--porcelain"]))?;
        if changed.is_empty() {
            return Build::of_checkout(kind)?.run();
        }
        println!("note: this checkout has changes that are not committed; what is compared is HEAD, from two clones");
        let clone = self.clone_to("a")?;
        Build::of(&clone, &self.0.join("a-target"), kind)?.run()
    }

    fn second(&self, kind: Kind) -> Result<Binary> {
        // Of another length and depth than any usual folder.
        let clone = self.clone_to("somewhere/else/with-a-longer-name")?;
        let mut build = Build::of(&clone, &self.0.join("target-of-somebody-else"), kind)?;
        build.cargo_home = self.cargo_home()?;
        self.give_away()?;
        let home = self.0.join("home");
        build.disguise = Some(Box::new(move |command| disguised(command, &home)));
        build.run()
    }

    /// None if this kernel has come out twice before.
    fn second_kernel(&self, kernel: &Kernel) -> Result<Option<Kernel>> {
        if std::fs::read_to_string(proof(kernel)).is_ok_and(|digest| digest == kernel.image_sha256) {
            println!(
                "    the kernel of this source and configuration has come out twice before: its second build is left out"
            );
            return Ok(None);
        }
        println!("==> the kernel, a second time: about three minutes on two cores, once");
        let folder = self.0.join("kernel-of-somebody-else");
        let mut command = Command::new("bash");
        command
            .arg(self.0.join("somewhere/else/with-a-longer-name/image/kernel/build.sh"))
            .arg(kernel::SOURCE)
            .arg(&folder);
        self.give_away()?;
        step::run("build the enclave's kernel again", &mut disguised(&command, &self.0.join("home")))?;
        let image = folder.join("bzImage");
        let image_sha256 = sha256(&std::fs::read(&image).with_context(|| format!("cannot read {}", image.display()))?);
        let config = folder.join("kernel.config");
        Ok(Some(Kernel { image, config, image_sha256, ..kernel.clone() }))
    }

    fn clone_to(&self, name: &str) -> Result<PathBuf> {
        let folder = self.0.join(name);
        output(Command::new("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(step::root()).arg(&folder))?;
        Ok(folder)
    }

    /// Another `CARGO_HOME`, with the crates' files of ours and nothing that was unpacked or built.
    fn cargo_home(&self) -> Result<PathBuf> {
        let (ours, theirs) = (cargo_home()?, self.0.join("home/cargo"));
        std::fs::create_dir_all(theirs.join("registry"))?;
        for part in ["registry/cache", "registry/index"] {
            let from = ours.join(part);
            ensure!(from.exists(), "{} is missing: expected cargo's downloads there", from.display());
            output(Command::new("cp").arg("-r").arg(&from).arg(theirs.join(part)))?;
        }
        for file in ["config.toml", "config"].map(|name| ours.join(name)).iter().filter(|file| file.exists()) {
            output(Command::new("cp").arg(file).arg(&theirs))?;
        }
        Ok(theirs)
    }

    /// To the other user, where there can be one.
    fn give_away(&self) -> Result<()> {
        if is_root() {
            output(Command::new("chown").args(["-R", &format!("{NOBODY}:{NOBODY}")]).arg(&self.0))?;
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.1.get() {
            // Nothing in it is of worth; what stays is found by its name.
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The same command with another umask, time zone, locale and home and, if we are root, by another user. That one may read
/// what only root can, because the toolchain may lie in root's home; nothing else of root's is left. (gcc asks with access(2)
/// whether there is a linker, which counts a capability only with `no_setuid_fixup`: capabilities(7).)
fn disguised(command: &Command, home: &Path) -> Command {
    let mut words = Vec::new();
    if is_root() {
        let user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
        let may_read = ["--bounding-set", "-all,+dac_override", "--inh-caps", "-all,+dac_override"];
        words.extend(["setpriv"].iter().chain(&user).chain(&may_read).copied());
        words.extend(["--ambient-caps", "-all,+dac_override", "--securebits", "+no_setuid_fixup", "--"]);
    }
    words.extend(["sh", "-c", "umask 0077; exec \"$@\"", "sh"]);
    let mut other = Command::new(words[0]);
    other.args(&words[1..]).arg(command.get_program()).args(command.get_args());
    other.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        other.current_dir(folder);
    }
    other.envs(WAYS).env("HOME", home);
    other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disguised_command_runs_as_somebody_else_with_other_ways() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $(id -u) $(umask) $TZ $HOME $KEPT"]).env("KEPT", "kept").current_dir("/");
        let said = output(&mut disguised(&command, Path::new("/their/home"))).unwrap();
        let user = if is_root() { NOBODY.to_owned() } else { rustix::process::geteuid().as_raw().to_string() };
        assert_eq!(said, format!("{user} 0077 Pacific/Kiritimati /their/home kept"));
    }
}
