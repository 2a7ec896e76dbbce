//! `cargo xtask enclave run`: what `nitro-cli run-enclave` does, with QEMU in the place of the hypervisor.
use anyhow::{Context, Result, bail, ensure};
use e2e::emulator::{Emulator, EmulatorSpec};
use e2e::{Sandbox, emulator};
use image::Eif;
use sha2::{Digest, Sha384};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An enclave that has not told that it lives by then, never will.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

const DEBUG_HELP: &str = "\
--debug shows the console, as `nitro-cli console` does of an enclave in debug mode. On Nitro, debug mode also makes the measurements in
attestation documents zero, so that no KMS policy on them is satisfied. QEMU has no such mode: the measurements stay true here. So a policy
that holds here with --debug does not hold on Nitro with --debug-mode; what tmkms does with zeros is tested elsewhere.

QEMU measures the image (PCR0, 1, 2, and 8 if it is signed), --role (PCR3) and --instance-id (PCR4), as Nitro does; but nobody signs its
attestation documents. A KMS for it: cargo xtask sim kms --dir DIR --accept-unsigned-documents";

#[derive(clap::Args)]
#[command(after_long_help = DEBUG_HELP)]
pub struct Args {
    /// The image, e.g. target/image/tmkms.eif
    #[arg(value_name = "EIF")]
    image: PathBuf,
    /// The enclave's CID, 4 or higher
    #[arg(long, default_value_t = 16)]
    cid: u32,
    /// Its memory in MiB: at least four times the image's size
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    memory: u32,
    /// Its processors
    #[arg(long, value_name = "N", default_value_t = 2)]
    cpus: u32,
    /// The ARN of the parent's role, which PCR3 measures
    #[arg(long, value_name = "ARN")]
    role: Option<String>,
    /// The parent's instance id, which PCR4 measures
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
    /// Where its sockets go, for -i CID@DIR [default: a folder of yours below the system's temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Show its console (the measurements stay true, unlike Nitro's: see --help)
    #[arg(long)]
    debug: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let image = Image::read(&args.image)?;
    let folder = args.dir.clone().map_or_else(default_folder, Ok)?;
    let made = !folder.exists();
    let spec = EmulatorSpec {
        eif: args.image.clone(),
        cid: args.cid,
        memory_mib: args.memory,
        cpus: args.cpus,
        role: args.role.clone(),
        instance: args.instance_id.clone(),
        folder: folder.clone(),
    };
    spec.check()?;
    super::ensure()?;
    if args.dir.is_none() {
        own_folder(&folder)?;
    }
    print!("{}", image.told(&spec));
    // From here on Ctrl-C ends the enclave first.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let sandbox = Sandbox::new("enclave")?;
    let result = Emulator::start(&sandbox, "console", &spec).and_then(|mut enclave| {
        Watch { enclave: &mut enclave, shown: 0, debug: args.debug }.until_the_end(&mut signals)
    });
    if made {
        // Other programs' sockets may be there, and then it stays.
        let _ = fs::remove_dir(&folder);
    }
    result
}

/// The image and what it is measured as.
struct Image {
    bytes: usize,
    eif: Eif,
}

impl Image {
    fn read(path: &Path) -> Result<Self> {
        let told = || format!("cannot read the image {}: build one with `cargo xtask image`", path.display());
        let file = fs::read(path).with_context(told)?;
        let eif = Eif::read(&file).with_context(|| format!("{} is no image that boots", path.display()))?;
        eif.check_signature().with_context(|| format!("{} is signed, and Nitro would refuse it", path.display()))?;
        Ok(Self { bytes: file.len(), eif })
    }

    fn told(&self, spec: &EmulatorSpec) -> String {
        let mib = |bytes: usize| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
        let mut text = format!(
            "enclave {}: {} ({}), {} MiB of memory (least for this image: {}), processors: {}\n",
            spec.cid,
            spec.eif.display(),
            mib(self.bytes),
            spec.memory_mib,
            emulator::least_memory_mib(u64::try_from(self.bytes).unwrap_or(u64::MAX)),
            spec.cpus
        );
        let measured = self.eif.measurements();
        for (name, value) in measured.registers() {
            text += &format!("  {name} {value}\n");
        }
        for (name, of) in [("PCR3", &spec.role), ("PCR4", &spec.instance)] {
            if let Some(of) = of {
                text += &format!("  {name} {}  ({of})\n", of_the_parent(of));
            }
        }
        text
    }
}

/// PCR3 of a role's ARN and PCR4 of an instance's id: AWS's user guide, "Cryptographic attestation": a register that is zero, extended by the text.
pub fn of_the_parent(text: &str) -> String {
    let register = Sha384::new().chain_update([0; 48]).chain_update(text).finalize();
    register.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A running enclave, and how much of its console was shown.
struct Watch<'a> {
    enclave: &'a mut Emulator,
    shown: usize,
    debug: bool,
}

impl Watch<'_> {
    fn until_the_end(&mut self, signals: &mut Signals) -> Result<()> {
        let began = Instant::now();
        let mut booted = false;
        loop {
            self.show()?;
            if signals.pending().next().is_some() {
                self.enclave.kill();
                println!("\nthe enclave is ended: its power was cut, as `nitro-cli terminate-enclave` does");
                return Ok(());
            }
            if !booted && self.enclave.heartbeat(Duration::ZERO).is_ok() {
                booted = true;
                print!("{}", self.how_to_talk(began.elapsed()));
                std::io::stdout().flush()?;
            }
            if !self.enclave.machine.is_running() {
                return self.ended(booted);
            }
            if !booted && began.elapsed() > BOOT_LIMIT {
                bail!(
                    "the enclave has not told within {BOOT_LIMIT:?} that it lives: it boots no init that does, or it cannot reach port {} of \
                     its parent; {}",
                    emulator::HEARTBEAT_PORT,
                    self.see_console()
                );
            }
            self.enclave.vsock.check()?;
            std::thread::sleep(PAUSE);
        }
    }

    fn ended(&mut self, booted: bool) -> Result<()> {
        self.show()?;
        let when = if booted { "by itself" } else { "before it told that it lives" };
        let console = self.enclave.console();
        let last = e2e::process::tail(&console, 5);
        let said =
            if self.debug { String::new() } else { format!("; {}; its last words:\n{last}", self.see_console()) };
        bail!("the enclave ended {when}{said}")
    }

    fn see_console(&self) -> &'static str {
        if self.debug { "its console is above" } else { "--debug shows its console" }
    }

    fn how_to_talk(&self, after: Duration) -> String {
        let at = self.enclave.endpoint();
        format!(
            "it lives: the first word after {:.1} s\n\nfrom this machine, with everything that takes -i:\n  tmkms nitro status -i {at}\n  \
             tmkms nitro persist -s STATE -p 5555 -i {at}\n  tmkms nitro push-config -c tmkms.toml -i {at}\n\nCtrl-C cuts its power.\n",
            after.as_secs_f64()
        )
    }

    /// What is new on the console.
    fn show(&mut self) -> Result<()> {
        if self.debug {
            let console = self.enclave.console();
            let mut out = std::io::stdout();
            out.write_all(console.as_bytes().get(self.shown..).unwrap_or_default())?;
            out.flush()?;
            self.shown = console.len();
        }
        Ok(())
    }
}

/// Short, for a socket's path has 107 bytes; and not in the repository, whose path may be long.
fn default_folder() -> Result<PathBuf> {
    let name = format!("tmkms-enclave-{}", rustix::process::geteuid().as_raw());
    Ok(std::env::temp_dir().join(name))
}

/// A folder of ours alone: whoever can write there can take the parent's ports.
fn own_folder(folder: &Path) -> Result<()> {
    let path = folder.display();
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {path}"));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(folder).with_context(|| format!("cannot look at {path}"))?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    ensure!(ours, "{path} is not a folder of yours alone (mode 0700): remove it, or choose another with --dir");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_s_registers_are_aws_s() {
        // As printed by the recipe in AWS's user guide (Python's hashlib) for these two.
        assert_eq!(
            of_the_parent("arn:aws:iam::111122223333:role/validator"),
            "38f5022208b475cea34e71bc56b7fc0ef03da8bba10dda1571460326e2f679b20db5257f02f29bfdbf6f64534f137fc6"
        );
        assert_eq!(
            of_the_parent("i-0123456789abcdef0"),
            "d6432900ac1c343cb40286898792c55e962aef0cc35c4910c0c286145b51af19e782cb21cc31a042671d7dfbd398251c"
        );
    }

    #[test]
    fn what_is_no_image_is_refused_with_the_command_that_makes_one() {
        let missing = format!("{:#}", Image::read(Path::new("/nonexistent.eif")).err().unwrap());
        assert!(missing.contains("cargo xtask image"), "{missing}");
        let other = format!("{:#}", Image::read(Path::new("/etc/passwd")).err().unwrap());
        assert!(other.contains("is no image that boots"), "{other}");
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_taken() {
        let folder = std::env::temp_dir().join(format!("xtask-own-{}", std::process::id()));
        own_folder(&folder).unwrap();
        own_folder(&folder).unwrap();
        fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(own_folder(&folder).unwrap_err().to_string().contains("yours alone"));
        fs::remove_dir(&folder).unwrap();
    }
}
