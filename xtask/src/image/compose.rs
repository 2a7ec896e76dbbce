//! What an operator chose, checked before anything is built, and laid out as an image.
use super::binary::Kind;
use ::image::{Parts, add_files, app_ramdisk, boot_ramdisk, check_kernel, docker_layout, docker_rootfs, policy_files};
use anyhow::{Context, Result, ensure};
use enclave::init::InitOptions;
use enclave::policy::Policy;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// `COMMAND_LINE_SIZE` of the kernel on x86 is 2048, with the final zero, and a loader adds its devices' words
/// (`virtio_mmio.device=4K@0xd0000000:5`).
const MAX_CMDLINE_BYTES: usize = 2047 - 255;

/// What an image is made of besides kernel and program.
#[derive(clap::Args, Default)]
pub struct Chosen {
    /// The measured policy; it becomes /policy.toml, and the TLS root that it names comes along
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The image that makes keys instead of the one that signs; its policy must name KMS keys, accounts and regions
    #[arg(long)]
    ceremony: bool,
    /// One more file, as SRC=DST, such as node.key=identity/node.key
    #[arg(long = "file", value_name = "SRC=DST", value_parser = source_and_name)]
    files: Vec<(PathBuf, String)>,
    /// The vsock port of the control channel, if not 5050
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    port: Option<u32>,
    /// Log more
    #[arg(long)]
    verbose: bool,
    /// Another kernel, such as the bzImage that AWS ships with nitro-cli
    #[arg(long, value_name = "bzImage")]
    kernel: Option<PathBuf>,
    /// Another kernel command line
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    /// Another init, such as the one that AWS ships with nitro-cli, which then starts /tmkms as its child
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// The nsm.ko that goes with it
    #[arg(long, value_name = "FILE", requires = "init")]
    nsm_ko: Option<PathBuf>,
}

fn source_and_name(text: &str) -> Result<(PathBuf, String), String> {
    let pair = text.split_once('=').filter(|(source, name)| !source.is_empty() && !name.is_empty());
    pair.map(|(source, name)| (source.into(), name.to_owned()))
        .ok_or_else(|| format!("expected SRC=DST, such as node.key=identity/node.key; got {text:?}"))
}

impl Chosen {
    /// Everything that can be known to be wrong before minutes are spent on building.
    pub fn check(&self) -> Result<()> {
        ensure!(
            !self.ceremony || self.policy.is_some(),
            "--ceremony: expected a measured policy (--policy FILE) that names KMS keys, accounts and regions, got none"
        );
        if let Some(policy) = &self.policy {
            let read = Policy::load(policy, true).context("an enclave with this policy would refuse to start")?;
            if self.ceremony {
                let missing = read.unwrap_or_default().is_for_ceremony().err();
                let file = policy.display();
                missing.map_or(Ok(()), |missing| {
                    Err(anyhow::anyhow!(
                        "{file}: a ceremony image works only under a policy that names its keys: {missing}"
                    ))
                })?;
            }
        }
        self.files()?;
        if let Some(kernel) = &self.kernel {
            check_kernel(&read(kernel)?).with_context(|| kernel.display().to_string())?;
        }
        for path in self.init.iter().chain(&self.nsm_ko) {
            read(path)?;
        }
        self.cmdline().map(drop)
    }

    /// Which program it is made of.
    pub const fn kind(&self) -> Kind {
        if self.ceremony { Kind::Ceremony } else { Kind::Signer }
    }

    /// Whether the program is itself init, as in every image without `--init`.
    pub const fn has_own_layout(&self) -> bool {
        self.init.is_none()
    }

    /// What people should know of an image that is not wholly ours.
    pub const fn note(&self) -> Option<&'static str> {
        if self.init.is_some() {
            Some(match self.kernel {
                Some(_) => {
                    "PCR1 is of the kernel and the init that were given; the program is in PCR2, with your files"
                }
                None => {
                    "PCR1 is of our kernel and the init that was given; the program is in PCR2, with your files. AWS's init wants AWS's --kernel: it \
                     mounts file systems (devpts, cgroups) that ours does not have"
                }
            })
        } else if self.kernel.is_some() {
            Some(
                "the kernel that was given must have the drivers for vsock and for the Nitro Secure Module built in: our init \
                 loads no modules; AWS's kernel wants AWS's --init and --nsm-ko",
            )
        } else {
            None
        }
    }

    /// The image's parts, with this kernel (if no other one was chosen) and this program.
    pub fn parts(&self, kernel: &Path, program: &Path) -> Result<Parts> {
        let kernel = read(self.kernel.as_deref().unwrap_or(kernel))?;
        check_kernel(&kernel)?;
        let (program, files) = (read(program)?, self.files()?);
        let ramdisks = match &self.init {
            None => vec![boot_ramdisk(&program)?, app_ramdisk(&files)?],
            Some(init) => self.docker_ramdisks(init, &program, &files)?,
        };
        Ok(Parts { kernel, cmdline: self.cmdline()?, ramdisks })
    }

    /// The layout of nitro-cli: AWS's init boots, and the program and an operator's files are what it changes its root to.
    fn docker_ramdisks(&self, init: &Path, program: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let root = docker_rootfs(program, files)?;
        let module = self.nsm_ko.as_deref().map(read).transpose()?;
        Ok(docker_layout(&read(init)?, module.as_deref(), &root, &self.command(), &["PATH=/".to_owned()])?)
    }

    /// What AWS's init starts, and a Docker image's command.
    pub fn command(&self) -> Vec<String> {
        let mut words = ["/tmkms", "nitro", "start"].map(str::to_owned).to_vec();
        words.extend(self.port.into_iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
        words.extend(self.verbose.then(|| "-v".to_owned()));
        words
    }

    /// What goes into the application's ramdisk.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        match &self.policy {
            Some(policy) => Ok(policy_files(policy, &self.files)?),
            None => Ok(add_files(BTreeMap::new(), &self.files)?),
        }
    }

    fn cmdline(&self) -> Result<String> {
        let mut cmdline = self.cmdline.clone().unwrap_or_else(|| ::image::CMDLINE.to_owned());
        if self.has_own_layout() {
            if let Some(port) = self.port {
                write!(cmdline, " tmkms.port={port}")?;
            }
            if self.verbose {
                cmdline.push_str(" tmkms.verbose=1");
            }
        }
        let is_one_line = cmdline.bytes().all(|byte| (b' '..0x7F).contains(&byte));
        ensure!(is_one_line, "--cmdline: expected one line of plain ASCII, got {cmdline:?}");
        ensure!(
            cmdline.len() <= MAX_CMDLINE_BYTES,
            "the kernel's command line: expected at most {MAX_CMDLINE_BYTES} bytes, got {}",
            cmdline.len()
        );
        if self.has_own_layout() {
            // Else it would be told on a console that nobody sees, at every start.
            InitOptions::check(&cmdline).map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        Ok(cmdline)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_would_refuse_is_refused_before_anything_is_built() {
        let wrong = |port, cmdline: Option<&str>| {
            let chosen = Chosen { port, cmdline: cmdline.map(str::to_owned), ..Chosen::default() };
            chosen.check().unwrap_err().to_string()
        };
        assert!(wrong(Some(u32::MAX), None).contains("tmkms.port"));
        assert!(wrong(None, Some("panic=30 tmkms.prot=1")).contains("tmkms.prot"));
        assert!(wrong(None, Some(&"x".repeat(1793))).contains("1792"));
        Chosen { port: Some(6000), verbose: true, ..Chosen::default() }.check().unwrap();
    }

    #[test]
    fn a_file_is_given_with_its_name_in_the_image() {
        assert_eq!(source_and_name("a/b=c/d"), Ok(("a/b".into(), "c/d".to_owned())));
        assert!(source_and_name("a").is_err() && source_and_name("=a").is_err() && source_and_name("a=").is_err());
    }

    #[test]
    fn options_come_after_the_kernel_s_and_a_second_line_is_refused() {
        let chosen = Chosen { port: Some(6000), verbose: true, ..Chosen::default() };
        assert!(chosen.cmdline().unwrap().ends_with("random.trust_cpu=on tmkms.port=6000 tmkms.verbose=1"));
        let lines = Chosen { cmdline: Some("a\nb".to_owned()), ..Chosen::default() };
        assert!(lines.cmdline().unwrap_err().to_string().contains("one line"));
        let long = Chosen { cmdline: Some("a".repeat(1793)), ..Chosen::default() };
        assert!(long.cmdline().unwrap_err().to_string().contains("at most 1792 bytes, got 1793"));
    }

    #[test]
    fn a_policy_that_the_enclave_would_refuse_makes_no_image() {
        let path = std::env::temp_dir().join(format!("image-policy-{}.toml", std::process::id()));
        std::fs::write(&path, "[kms]\nkey_arn = \"a typo\"\n").unwrap();
        let chosen = Chosen { policy: Some(path.clone()), ..Chosen::default() };
        let error = format!("{:#}", chosen.check().unwrap_err());
        assert!(error.contains("would refuse to start") && error.contains("key_arn"), "{error}");
        // Good enough for a signer, which may leave everything to its parent, and not for a ceremony.
        std::fs::write(&path, "[kms]\nregions = [\"eu-west-1\"]\n").unwrap();
        chosen.check().unwrap();
        let ceremony = Chosen { ceremony: true, ..chosen };
        let error = format!("{:#}", ceremony.check().unwrap_err());
        assert!(error.contains("[kms] key_arns with at least one entry, got none"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(ceremony.check().is_err());
    }
}
