//! A ceremony: an enclave that makes keys, beside the one that will sign, on the same parent.
use super::{ACCESS_KEY, ACCOUNT, Enclave, KMS_PROXY_PORT, KMS_ROOT, REGION, SECRET_KEY, Sealed};
use crate::Process;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};

/// Who may run it.
pub const CEREMONY_ROLE: &str = "arn:aws:iam::111122223333:role/ceremony";
/// Who writes key policies.
pub const ADMIN: &str = "arn:aws:iam::111122223333:role/break-glass";
/// TEST CREDENTIALS of [`CEREMONY_ROLE`], with `SECRET_KEY`.
const CEREMONY_ACCESS_KEY: &str = "AKIATESTCEREMONY0000";

/// A ceremony enclave that runs, and the KMS key under which it encrypts.
pub struct Ceremony {
    /// `sim-enclave ceremony`.
    pub enclave: Process,
    _proxy: Process,
    /// What `-i` says for it.
    pub cid: String,
    /// The KMS key.
    pub arn: String,
    /// Another one that its policy names.
    pub second: String,
}

impl Enclave {
    /// Two KMS keys for a ceremony, and the lines of a measured policy that name them. KMS knows the role; the keys' policy lets the
    /// administrator change it, and nobody do anything else yet.
    ///
    /// # Errors
    /// When KMS refuses.
    pub fn keys_for_ceremony(&self) -> Result<([String; 2], String)> {
        let administration = serde_json::json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "administration", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Resource": "*",
             "Action": ["kms:CreateKey", "kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy"]}]});
        let make = || self.kms().create_key(&administration.to_string());
        let arns = [make()?, make()?];
        self.kms().add_principal(CEREMONY_ACCESS_KEY, SECRET_KEY, None, CEREMONY_ROLE, None);
        let policy = format!(
            "[kms]\nkey_arns = [\"{}\", \"{}\"]\naccounts = [\"{ACCOUNT}\"]\nregions = [\"{REGION}\"]\n",
            arns[0], arns[1]
        );
        Ok((arns, policy))
    }

    /// Starts a ceremony enclave, a process, under a policy that names a new KMS key, and writes its measurements to `ceremony.json`.
    ///
    /// # Errors
    /// When it does not get to where it waits.
    pub fn start_ceremony(&self, policy: &str) -> Result<Ceremony> {
        let ([arn, second], names) = self.keys_for_ceremony()?;
        fs::copy(self.kms().ca_pem_path(), self.folder.join(KMS_ROOT))?;
        let base =
            names + &format!("[kms.endpoint]\nhost = \"localhost\"\nregion = \"{REGION}\"\nroot = \"{KMS_ROOT}\"\n");
        fs::write(self.folder.join("ceremony-policy.toml"), base + policy)?;
        let cid = format!("unix:{}", self.folder.join("c").display());
        let mut proxy = self.tool()?;
        let (port, target) = (KMS_PROXY_PORT.to_string(), self.kms().address().to_string());
        proxy.args(["nitro", "proxy", "-p", &port, "-t", &target, "-i", &cid]);
        let proxy = Process::spawn(&self.sandbox, &format!("{}-ceremony-proxy", self.name), proxy)?;
        let (enclave, status) = self.new_process("ceremony", "ceremony-policy.toml", ("ceremony", &cid, &cid))?;
        ensure!(status["ceremony"] == true, "the status does not say that it is a ceremony image: {status}");
        self.trust_nsm()?;
        self.measure(&status, "ceremony.json")?;
        Ok(Ceremony { enclave, _proxy: proxy, cid, arn, second })
    }

    /// Writes the measurements that a status shows into a file of the folder, in nitro-cli's shape.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn measure(&self, status: &Value, name: &str) -> Result<()> {
        let text = format!("{{\"Measurements\": {{\"PCR0\": {}}}}}", status["pcrs"]["0"]);
        fs::write(self.folder.join(name), text).with_context(|| format!("cannot write {name}"))
    }

    /// Has `tmkms nitro policy` write a key's policy, and puts it.
    ///
    /// # Errors
    /// When the command or KMS refuses.
    pub fn put_policy_of(&self, arn: &str, options: &[&str]) -> Result<()> {
        let text = self.command(&[&["nitro", "policy", "--admin", ADMIN], options].concat())?;
        self.kms().put_policy(arn, &text)
    }

    /// `nitro keygen` with the ceremony's credentials, to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn keygen_in(&self, ceremony: &Ceremony, options: &[&str]) -> Result<Output> {
        self.keygen_at(&ceremony.cid, options)
    }

    /// The same with whatever enclave `-i` names.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn keygen_at(&self, cid: &str, options: &[&str]) -> Result<Output> {
        self.in_ceremony(&[&["keygen", "-i", cid], options].concat())
    }

    /// Any `nitro` command with the ceremony's credentials.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn in_ceremony(&self, options: &[&str]) -> Result<Output> {
        let mut command = self.tool()?;
        command.arg("nitro");
        command.args(options);
        if !options.contains(&"--kms-proxy-port") {
            command.args(["--kms-proxy-port", &KMS_PROXY_PORT.to_string()]);
        }
        command.env("AWS_ACCESS_KEY_ID", CEREMONY_ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.stdin(Stdio::null()).output().context("cannot run nitro keygen")
    }

    /// The role that has keys released, with its credentials: who pushes.
    #[must_use]
    pub const fn validator_access_key() -> &'static str {
        ACCESS_KEY
    }

    /// What the development KMS is called by an image that trusts it by its measured policy: `--kms` of whoever verifies.
    ///
    /// # Errors
    /// When its root cannot be read.
    pub fn kms_name(&self) -> Result<String> {
        use sha2::{Digest, Sha256};
        let pem = fs::read_to_string(self.kms().ca_pem_path())?;
        let body: String = pem
            .lines()
            .skip_while(|line| !line.starts_with("-----BEGIN"))
            .skip(1)
            .take_while(|line| !line.starts_with("-----"))
            .collect();
        let digest: String = Sha256::digest(super::unbase64(&body)?).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("localhost, roots {digest}"))
    }

    /// What a ceremony wrote into a folder, as it goes into a configuration.
    ///
    /// # Errors
    /// When it is not there.
    pub fn sealed_by_ceremony(&self, folder: &str) -> Result<(Sealed, String)> {
        let path = |name: &str| -> PathBuf { self.folder.join(folder).join(name) };
        let evidence: Value = serde_json::from_slice(&fs::read(path("attestation.json"))?)?;
        let said = &evidence["statement"];
        let context = said["encryption_context"].as_object().context("no encryption context")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
        let context = context.iter().map(|(name, value)| Ok((name.clone(), text(value)?))).collect::<Result<_>>()?;
        let ciphertext = super::unbase64(fs::read_to_string(path("ciphertext.b64"))?.trim())?;
        let public = format!("{}:{}", text(&said["algorithm"])?, text(&said["public_key"])?);
        Ok((Sealed { arn: text(&said["key_arn"])?, ciphertext, context }, public))
    }
}

/// How a ceremony enclave ends that does not begin, with that policy and those options, in that folder. It stays readable for ten seconds first.
///
/// # Errors
/// When it begins.
pub fn broken_ceremony(folder: &std::path::Path, name: &str, policy: &str, more: &[&str]) -> Result<String> {
    let file = format!("{name}.toml");
    fs::write(folder.join(&file), policy)?;
    let base = format!("unix:{}", folder.join(name).display());
    let mut command = std::process::Command::new("timeout");
    command.current_dir(folder).env("NO_COLOR", "1").arg("30").arg(crate::signer::built("sim-enclave")?);
    command.args(["ceremony", "--policy", &file, "--nsm-dir", "nsm", "--parent", &base]).args(more);
    let output = command.stdin(Stdio::null()).output().context("cannot run sim-enclave")?;
    let text = super::said(&output);
    ensure!(output.status.code() == Some(1), "it did not end as broken ({}): {text}", output.status);
    Ok(text)
}
