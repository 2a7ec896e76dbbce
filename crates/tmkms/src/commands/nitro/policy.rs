//! `tmkms nitro policy`: the policy of a validator's KMS key, explained, and beside the one in force. It asks AWS nothing.
mod compare;
pub(crate) mod dangers;
pub(crate) mod present;
mod principal;
mod reading;
mod statement;
mod statements;
mod text;
mod wanted;

use crate::failure::{Exit, Failure};
use crate::logging;
use crate::measurements::{Measurements, Register};
use clap::Args;
use principal::Principal;
use statement::{policy_text, policy_value};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wanted::{Ceremony, Wanted};

const EXAMPLES: &str = "\
The policy releases the key to the image of the measurements and to nothing else, whatever IAM or grants allow. Measurements come \
from your own build, never from an enclave that runs. While one image replaces another, give both files; when the new one signs, its \
file alone, and put that policy, too.

PCR4 is SHA-384 of 48 zero bytes and the id of the parent instance, as AWS's user guide of Nitro Enclaves has it.

The value of PCR4:
  python3 -c 'import hashlib; print(hashlib.sha384(bytes(48) + b\"i-0abc0123456789def\").hexdigest())'

The JSON goes to --out, which must not exist yet, or to standard output; with --present and no --out, the difference alone is \
printed. An administrator can still let himself decrypt, by changing the policy: --explain says what to do about it.

Exits as diff does: with 0 if the policy was written, or is the one of --present; with 1 if that one differs; with 2 if something is \
wrong with the command line or a file. Nothing is asked of AWS.

A key ceremony comes first, and the image that signs names the key that was made: so first a policy of the ceremony alone, then one of
the signer's image, in which the ceremony's no longer stands.

Examples:
  tmkms nitro policy --measurements m.json --role ARN --admin ARN --out key-policy.json --explain
  aws kms put-key-policy --key-id KEY-ARN --policy-name default --policy file://key-policy.json
  aws kms get-key-policy --key-id KEY-ARN --query Policy --output text > in-force.json
  tmkms nitro policy --measurements m.json --role ARN --admin ARN --present in-force.json";

/// Write the policy of the KMS key, or compare it with the one in force
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Policy {
    /// What the image's build printed as its measurements; once more for the time of an upgrade; none before a ceremony
    #[arg(long, value_name = "FILE", required_unless_present = "ceremony_measurements", requires = "role")]
    measurements: Vec<PathBuf>,
    /// Who may have the key released to the image: the role of the parent instance
    #[arg(long, value_name = "ARN", required_unless_present = "ceremony_measurements", requires = "measurements")]
    role: Vec<Principal>,
    /// Who may change the policy, and cannot decrypt
    #[arg(long, value_name = "ARN", required = true)]
    admin: Vec<Principal>,
    /// The measurements of the image that makes keys in an enclave
    #[arg(long, value_name = "FILE", requires = "ceremony_role")]
    ceremony_measurements: Option<PathBuf>,
    /// Who may run that image: it can encrypt a key of its own under this KMS key
    #[arg(long, value_name = "ARN", requires = "ceremony_measurements")]
    ceremony_role: Option<Principal>,
    /// The ceremony encrypts under data keys alone (keygen --method data-key): nobody is allowed kms:Encrypt for it
    #[arg(long, requires = "ceremony_role")]
    data_keys_only: bool,
    /// Release the key on one instance alone: the value of PCR4 there
    #[arg(long, value_name = "HEX")]
    pcr4: Option<Register>,
    /// Compare with this policy, which is in force
    #[arg(long, value_name = "FILE")]
    present: Option<PathBuf>,
    /// Say of each statement what it allows or stops, and what remains possible
    #[arg(long)]
    explain: bool,
    /// A new file for the JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Policy {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let wanted = self.wanted()?;
        let statements = wanted.statements()?;
        let present = self.present.as_deref().map(present::read).transpose()?;
        let json = policy_text(&statements);
        let mut page = String::new();
        match &self.out {
            Some(file) => write_new(file, &json)?,
            None if present.is_none() => page.push_str(&json),
            None => {}
        }
        if self.explain {
            if !page.is_empty() {
                page.push('\n');
            }
            page.push_str(&text::explanation(&wanted, &statements, self.out.as_deref()));
        }
        let mut differing = 0;
        if let Some(present) = &present {
            if !page.is_empty() {
                page.push('\n');
            }
            let (text, count) = present::difference(&policy_value(&statements), present, &wanted.known_images());
            page.push_str(&text);
            differing = count;
            if differing == 0 {
                page.push_str("the policy in force says the same\n");
            }
        }
        // Not with 1, which says that they differ.
        let unwritten = |error: io::Error| Failure { exit: Exit::Usage, ..Failure::from(error) };
        out.write_all(page.as_bytes()).and_then(|()| out.flush()).map_err(unwritten)?;
        logging::print(&text::note(&wanted, self.out.as_deref(), self.explain, present.is_some()));
        if differing > 0 {
            let are = if differing == 1 { "1 statement differs" } else { &format!("{differing} statements differ") };
            let help = format!(
                "if this one is right, put it as one of its administrators: {}",
                text::put(self.out.as_deref())
            );
            return Err(Failure::new(Exit::Runtime, format!("the policy in force is another one: {are}"), help));
        }
        Ok(())
    }

    fn wanted(&self) -> Result<Wanted, Failure> {
        let image = |file: &PathBuf| Measurements::read(file).map(|measurements| measurements.image());
        let read = self.measurements.iter().map(image);
        let (images, failures): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
        if let Some(failure) = Failure::all(failures.into_iter().filter_map(Result::err).collect()) {
            return Err(failure);
        }
        let ceremony = match (&self.ceremony_measurements, &self.ceremony_role) {
            (Some(file), Some(role)) => {
                Some(Ceremony { image: image(file)?, role: role.clone(), data_keys_only: self.data_keys_only })
            }
            _ => None,
        };
        Ok(Wanted {
            images: images.into_iter().filter_map(Result::ok).collect(),
            roles: once(&self.role),
            admins: once(&self.admin),
            ceremony,
            instance: self.pcr4.clone(),
        })
    }
}

/// Who was named twice is one.
fn once(principals: &[Principal]) -> Vec<Principal> {
    let mut found: Vec<Principal> = Vec::new();
    for principal in principals {
        if !found.contains(principal) {
            found.push(principal.clone());
        }
    }
    found
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let written = File::create_new(path).and_then(|mut file| {
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        // Half a policy is none; the file is ours.
        written.inspect_err(|_| drop(std::fs::remove_file(path)))
    });
    written.map_err(|error| {
        let help = match error.kind() {
            io::ErrorKind::AlreadyExists => "nothing is overwritten: name a new file, or compare with it (--present)",
            _ => "name a new file in a folder that exists",
        };
        Failure::new(Exit::Usage, format!("cannot write {}: {error}", path.display()), help)
    })
}
