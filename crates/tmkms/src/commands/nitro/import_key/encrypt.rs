//! `tmkms nitro import-key encrypt`: on a machine that has the key and AWS credentials. KMS is asked by AWS's own command line.
use super::source::Source;
use crate::commands::nitro::asking::plain;
use crate::commands::nitro::ceremony::{Brought, Purpose};
use crate::failure::{Exit, Failure};
use base64ct::{Base64, Encoding};
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const EXAMPLES: &str = "\
The key goes to KMS by `aws kms encrypt`, over a pipe and TLS, with the credentials that `aws` finds; it needs kms:Encrypt on that key, and nothing \
of an enclave. This machine sees the key, and so may somebody who has it: there is no evidence of an attestation, and nobody else can be shown \
where the key is from. `offer`, `seal` and `send` bring it in sealed; `tmkms nitro keygen` makes one that nobody ever had.

A statement about its state is needed as for `seal`. The folder is the one of a ceremony, without its evidence.

Examples:
  tmkms nitro import-key encrypt --chain-id cosmoshub-4 --key arn:aws:kms:eu-central-1:111122223333:key/… \\
      --state ~/.gaia/data/priv_validator_state.json --state-from filepv --out cosmoshub-4 ~/.gaia/config/priv_validator_key.json";

/// On a machine with the key and AWS credentials: encrypt it under KMS straight away
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Encrypt {
    #[command(flatten)]
    source: Source,
    /// AWS's command line
    #[arg(long, value_name = "PROGRAM", default_value = "aws")]
    aws: PathBuf,
}

impl Encrypt {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        self.source.check_statement()?;
        let region = self.region()?;
        let (secret, public) = self.source.secret()?;
        let (chain, purpose) = (&self.source.chain_id, self.source.purpose.name());
        let context = json!({"chain": chain, "purpose": purpose, "public_key": public.base64()});
        let context: std::collections::BTreeMap<String, String> = serde_json::from_value(context).unwrap_or_default();
        let ciphertext = self.asked(&region, &json!(context).to_string(), &secret)?;
        drop(secret);
        let brought = Brought { chain, purpose, key_arn: &self.source.key, public, ciphertext, context };
        self.source.fill(|folder| {
            if matches!(self.source.purpose, Purpose::Consensus) {
                self.source.bring_state(folder, &public, out)?;
            }
            brought.write_into(folder)?;
            writeln!(out, "encrypted the {purpose} key of {chain}: {public}")?;
            writeln!(out, "  address  {}", public.address())?;
            writeln!(out, "  folder   {}", folder.display())?;
            let next = "tmkms-lines.toml into tmkms.toml, policy-lines.toml into the image's policy";
            write!(out, "{}", self.source.next_steps(next))?;
            Ok(out.flush()?)
        })
    }

    fn region(&self) -> Result<String, Failure> {
        let parts: Vec<&str> = self.source.key.split(':').collect();
        match parts[..] {
            ["arn", _, "kms", region, _, key] if key.starts_with("key/") && !region.is_empty() => Ok(region.to_owned()),
            _ => {
                let message = format!("--key: expected arn:aws:kms:REGION:ACCOUNT:key/ID, got {:?}", self.source.key);
                Err(Failure::new(Exit::Usage, message, "`aws kms describe-key --key-id …` prints the Arn"))
            }
        }
    }

    /// The plaintext goes over a pipe: it is in no argument, no file and no environment.
    fn asked(&self, region: &str, context: &str, secret: &[u8]) -> Result<Vec<u8>, Failure> {
        let failed =
            |what: String, help: &str| Failure::new(Exit::Runtime, format!("{}: {what}", self.aws.display()), help);
        let mut child = Command::new(&self.aws)
            .args(["kms", "encrypt", "--region", region, "--key-id", &self.source.key, "--encryption-context", context])
            .args(["--plaintext", "fileb:///dev/stdin", "--query", "CiphertextBlob", "--output", "text"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                failed(format!("cannot be run: {error}"), "install AWS's command line, or name it with --aws")
            })?;
        // It may end without having read: its own words say why.
        let sent = child.stdin.take().map(|mut pipe| pipe.write_all(secret));
        let output = child.wait_with_output().map_err(|error| failed(error.to_string(), ""))?;
        let said = plain(String::from_utf8_lossy(&output.stderr).trim());
        if !output.status.success() {
            let said: String = said.chars().take(600).collect();
            return Err(failed(
                format!("{}: {said}", output.status),
                "nothing was written: mend that, and run it again",
            ));
        }
        if !matches!(sent, Some(Ok(()))) {
            return Err(failed("it did not read the key".to_owned(), "nothing was written"));
        }
        let text: String = String::from_utf8_lossy(&output.stdout).split_ascii_whitespace().collect();
        Base64::decode_vec(&text).ok().filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
            failed("it printed no ciphertext".to_owned(), "nothing was written: compare `aws --version`")
        })
    }
}
