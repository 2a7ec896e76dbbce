//! The folder that a ceremony leaves: every file is text, and says what it is.
use super::Key;
use crate::commands::nitro::plain;
use crate::failure::{Exit, Failure};
use base64ct::{Base64, Encoding};
use signer::keys::PublicKey;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The ciphertext's file.
pub(super) const CIPHERTEXT: &str = "ciphertext.b64";

/// A folder that is not there yet. It appears whole or not at all.
pub(super) struct Folder {
    path: PathBuf,
    parts: PathBuf,
}

impl Folder {
    /// Makes the place in which it is written.
    pub(super) fn prepare(path: &Path) -> Result<Self, Failure> {
        let name = path.file_name().ok_or_else(|| {
            Failure::new(Exit::Usage, format!("--out {}: expected the name of a new folder", path.display()), "")
        })?;
        if path.symlink_metadata().is_ok() {
            let help = "it is left as it is, for it may hold a key's only ciphertext: take another name";
            return Err(Failure::new(Exit::Usage, format!("--out {}: it is there already", path.display()), help));
        }
        let mut parts = name.to_owned();
        parts.push(format!(".parts-{}", std::process::id()));
        let parts = path.with_file_name(parts);
        // The ciphertext is half of what a second signer needs: it is the owner's alone.
        fs::DirBuilder::new().mode(0o700).create(&parts).map_err(|error| failed(&parts, &error))?;
        Ok(Self { path: path.to_owned(), parts })
    }

    /// Writes everything, and gives the folder its name.
    pub(super) fn write(&self, key: &Key, nonce: &str) -> Result<(), Failure> {
        let said = &key.said;
        let brought = Brought {
            chain: &said.chain_id,
            purpose: &said.purpose,
            key_arn: &said.key_arn,
            public: key.public,
            ciphertext: key.ciphertext.clone(),
            context: said.encryption_context.clone(),
        };
        brought.write_into(&self.parts)?;
        for (name, text) in [("attestation.json", key.evidence.text()), ("README.txt", readme(key, nonce))] {
            let path = self.parts.join(name);
            write(&path, &text).map_err(|error| failed(&path, &error))?;
        }
        sync(&self.parts).map_err(|error| failed(&self.parts, &error))?;
        // A folder of that name that came meanwhile is in the way only if it is not empty; then it is kept, and so is this one.
        fs::rename(&self.parts, &self.path).map_err(|error| {
            let help =
                format!("the key of {} is in {}: move that by hand", plain(&said.chain_id), self.parts.display());
            Failure::new(Exit::Runtime, format!("cannot rename to {}: {error}", self.path.display()), help)
        })?;
        let above = self.path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // It is all there; whether its name outlives a power cut is the system's to say.
        let _ = sync(above);
        Ok(())
    }
}

/// A key under KMS, wherever it was encrypted.
pub(in super::super) struct Brought<'a> {
    pub(in super::super) chain: &'a str,
    pub(in super::super) purpose: &'a str,
    pub(in super::super) key_arn: &'a str,
    pub(in super::super) public: PublicKey,
    pub(in super::super) ciphertext: Vec<u8>,
    pub(in super::super) context: BTreeMap<String, String>,
}

impl Brought<'_> {
    /// Ciphertext, public key, and the lines for configuration and policy.
    pub(in super::super) fn write_into(&self, folder: &Path) -> Result<(), Failure> {
        let ciphertext = Base64::encode_string(&self.ciphertext);
        let files = [
            (CIPHERTEXT, format!("{ciphertext}\n")),
            ("public-key.txt", self.public_key()),
            ("tmkms-lines.toml", self.config_lines(&ciphertext)),
            ("policy-lines.toml", self.policy_lines()),
        ];
        files.iter().try_for_each(|(name, text)| {
            let path = folder.join(name);
            write(&path, text).map_err(|error| failed(&path, &error))
        })
    }

    fn public_key(&self) -> String {
        let public = &self.public;
        format!(
            "chain      {}\npurpose    {}\nalgorithm  {}\nbase64     {}\nhex        {}\naddress    {}\ncomet      {}\ncosmos     {}\n",
            self.chain,
            self.purpose,
            public.algorithm().name(),
            public.base64(),
            public.hex(),
            public.address(),
            public.comet_json(),
            public.cosmos_json()
        )
    }

    fn context(&self) -> String {
        let pairs = self.context.iter();
        let pairs: Vec<_> = pairs.map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))).collect();
        format!("{{ {} }}", pairs.join(", "))
    }

    fn config_lines(&self, ciphertext: &str) -> String {
        let region = self.key_arn.split(':').nth(3).unwrap_or_default();
        let place = format!(
            "aws_region = {}\nkms_key_arn = {}\nencryption_context = {}\n",
            quoted(region),
            quoted(self.key_arn),
            self.context()
        );
        if self.purpose == "identity" {
            return format!(
                "# For the [[validator]] of {} in tmkms.toml, with secret_connection = true.\nidentity_key_b64 = {}\n{place}",
                self.chain,
                quoted(ciphertext)
            );
        }
        format!(
            "# For tmkms.toml.\n[[providers.softsign]]\nchain_ids = [{}]\nkey_type = \"consensus\"\nalgorithm = {}\nencrypted_key_b64 = {}\n{place}\
         public_key = {}\n",
            quoted(self.chain),
            quoted(self.public.algorithm().name()),
            quoted(ciphertext),
            quoted(&self.public.base64())
        )
    }

    fn policy_lines(&self) -> String {
        let part = |index| quoted(self.key_arn.split(':').nth(index).unwrap_or_default());
        let mut text = format!(
            "# For the measured policy of the signer's image (policy.toml). encryption_context is demanded of every key of that image.\n\
         [kms]\nkey_arns = [{}]\naccounts = [{}]\nregions = [{}]\nencryption_context = {{ chain = \"{{chain}}\", purpose = \"{{role}}\" }}\n",
            quoted(self.key_arn),
            part(4),
            part(3)
        );
        if self.purpose == "consensus" {
            text += &format!(
                "\n[chains]\nallowed = [{}]\n\n[chains.public_keys]\n{} = {}\n",
                quoted(self.chain),
                quoted(self.chain),
                quoted(&self.public.base64())
            );
        }
        text
    }
}

impl Drop for Folder {
    /// What is empty is taken away; what holds a file may hold the only ciphertext of a key.
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.parts);
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Runtime, format!("cannot write {}: {error}", path.display()), "")
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// A text in TOML: basic strings are JSON's, for what is printable.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn readme(key: &Key, nonce: &str) -> String {
    let said = &key.said;
    format!(
        "The {} key of {}, {} in an enclave that ran tmkms's ceremony image.\n\n\
         {CIPHERTEXT}     the key, encrypted under {} ({}); worth nothing without KMS,\n\
         {:18} and the key is lost without it: keep it in two places\n\
         public-key.txt     the public key in the forms that nodes, chains and tools ask for\n\
         attestation.json   the attestation document that binds public key, ciphertext, KMS key, context and policy:\n\
         {:18} archive it, for it proves to others where the key was made\n\
         tmkms-lines.toml   lines for tmkms.toml\n\
         policy-lines.toml  lines for the signer's measured policy\n\n\
         Check it on another machine, with measurements of the ceremony image from a build of your own:\n\n  \
         tmkms nitro verify attestation.json --measurements MEASUREMENTS.json --nonce '{nonce}' --chain-id {} --pub-key {} \\\n      --ciphertext {CIPHERTEXT}{}\n",
        said.purpose,
        said.chain_id,
        said.origin,
        said.key_arn,
        said.method,
        "",
        "",
        said.chain_id,
        said.public_key,
        super::more_options(said)
    )
}
