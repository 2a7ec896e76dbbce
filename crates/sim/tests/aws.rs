//! The ordinary `aws` command line against the server. Ignored unless asked for by `cargo xtask sim test`; `AWS` names the program.
#![allow(clippy::unwrap_used)]
use serde_json::{Value, json};
use sim::kms::{Fault, Server, Settings};
use std::path::{Path, PathBuf};
use std::process::Command;

const USER: &str = "arn:aws:iam::111122223333:user/developer";

struct Aws {
    server: Server,
    dir: PathBuf,
    token: Option<&'static str>,
}

impl Aws {
    fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sim-aws-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let server = Server::start(&Settings::new(&dir)).unwrap();
        server.add_principal("AKIDDEVELOPER", "developers/secret+key", None, USER, None);
        let allow = json!({ "Effect": "Allow", "Action": "kms:*", "Resource": "*" });
        server.set_iam(USER, &json!({ "Version": "2012-10-17", "Statement": allow }).to_string()).unwrap();
        Self { server, dir, token: None }
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn run(&self, args: &[&str]) -> Result<Value, String> {
        let program = std::env::var("AWS").unwrap_or_else(|_| "aws".into());
        let mut command = Command::new(program);
        command
            .args(["kms", "--output", "json"])
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.dir)
            .env("AWS_ENDPOINT_URL_KMS", self.server.url())
            .env("AWS_CA_BUNDLE", self.server.ca_pem_path())
            .env("AWS_DEFAULT_REGION", self.server.region())
            .env("AWS_ACCESS_KEY_ID", "AKIDDEVELOPER")
            .env("AWS_SECRET_ACCESS_KEY", "developers/secret+key");
        if let Some(token) = self.token {
            command.env("AWS_SESSION_TOKEN", token);
        }
        // The version in pyenv is chosen by a file in the home folder.
        for name in ["PYENV_ROOT", "PYENV_VERSION"] {
            std::env::var_os(name).map(|value| command.env(name, value));
        }
        let output = command.output().expect("no aws command line: `cargo xtask sim test` installs one");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        Ok(if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    }

    fn ok(&self, args: &[&str]) -> Value {
        self.run(args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    fn refused(&self, args: &[&str], kind: &str) -> String {
        let error = self.run(args).expect_err("it was accepted");
        assert!(error.contains(&format!("({kind})")), "expected {kind}, got: {error}");
        error
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no {path} in {value}"))
}

fn unbase64(text: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding as _};
    Base64::decode_vec(text).unwrap()
}

#[test]
#[ignore = "needs the aws command line; `cargo xtask sim test` has one"]
fn the_aws_command_line_makes_a_key_and_encrypts_and_decrypts_under_it() {
    let aws = Aws::start("all");
    let made = aws.ok(&["create-key", "--description", "a first key", "--tags", "TagKey=a,TagValue=b"]);
    let arn = text(&made, "/KeyMetadata/Arn").to_owned();
    let id = text(&made, "/KeyMetadata/KeyId").to_owned();
    assert!(arn.starts_with("arn:aws:kms:eu-central-1:111122223333:key/") && arn.ends_with(&id), "{arn}");
    let described = aws.ok(&["describe-key", "--key-id", &id]);
    assert_eq!(text(&described, "/KeyMetadata/Description"), "a first key");
    assert_eq!(described["KeyMetadata"]["Enabled"], true);

    let plain = aws.file("plain", b"the base64 of a key\n");
    let context = ["--encryption-context", "chain_id=test-1,purpose=consensus"];
    let encrypted =
        aws.ok(&[&["encrypt", "--key-id", &arn, "--plaintext", &format!("fileb://{plain}")], &context[..]].concat());
    let blob = aws.file("blob", &unbase64(text(&encrypted, "/CiphertextBlob")));
    let blob = format!("fileb://{blob}");
    let decrypted = aws.ok(&[&["decrypt", "--ciphertext-blob", &blob], &context[..]].concat());
    assert_eq!(unbase64(text(&decrypted, "/Plaintext")), b"the base64 of a key\n");
    assert_eq!(text(&decrypted, "/KeyId"), arn);

    aws.refused(&["decrypt", "--ciphertext-blob", &blob], "InvalidCiphertextException");
    let wrong = ["decrypt", "--ciphertext-blob", &blob, "--encryption-context", "chain_id=test-2,purpose=consensus"];
    aws.refused(&wrong, "InvalidCiphertextException");
    let other = aws.ok(&["create-key"]);
    let other = text(&other, "/KeyMetadata/KeyId");
    let with_other = [&["decrypt", "--key-id", other, "--ciphertext-blob", &blob], &context[..]].concat();
    aws.refused(&with_other, "IncorrectKeyException");
    aws.refused(&["describe-key", "--key-id", "11111111-2222-4333-8444-555555555555"], "NotFoundException");

    assert_eq!(unbase64(text(&aws.ok(&["generate-random", "--number-of-bytes", "24"]), "/Plaintext")).len(), 24);
    let data_key = aws.ok(&["generate-data-key", "--key-id", &arn, "--key-spec", "AES_256"]);
    assert_eq!(unbase64(text(&data_key, "/Plaintext")).len(), 32);
    assert_eq!(aws.ok(&["list-grants", "--key-id", &id])["Grants"], json!([]));
    assert_eq!(aws.ok(&["list-keys"])["Keys"].as_array().unwrap().len(), 2);
}

#[test]
#[ignore = "needs the aws command line; `cargo xtask sim test` has one"]
fn the_aws_command_line_changes_policies_and_states() {
    let aws = Aws::start("policies");
    let made = aws.ok(&["create-key"]);
    let arn = text(&made, "/KeyMetadata/Arn").to_owned();
    let plain = format!("fileb://{}", aws.file("plain", b"x"));
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": USER }, "Action": "kms:*", "Resource": "*" },
        { "Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*" },
    ]});
    let file = format!("file://{}", aws.file("policy.json", policy.to_string().as_bytes()));
    aws.ok(&["put-key-policy", "--key-id", &arn, "--policy-name", "default", "--policy", &file]);
    let got = aws.ok(&["get-key-policy", "--key-id", &arn, "--policy-name", "default"]);
    assert_eq!(serde_json::from_str::<Value>(text(&got, "/Policy")).unwrap(), policy);
    let error = aws.refused(&["encrypt", "--key-id", &arn, "--plaintext", &plain], "AccessDeniedException");
    let expected = format!(
        "User: {USER} is not authorized to perform: kms:Encrypt on resource: {arn} with an explicit deny in a resource-based policy"
    );
    assert!(error.contains(&expected), "{error}");
    let stranger = json!({ "AWS": "arn:aws:iam::444455556666:user/stranger" });
    let locked = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": stranger, "Action": "kms:*", "Resource": "*" },
    ]});
    let bad = format!("file://{}", aws.file("bad.json", locked.to_string().as_bytes()));
    aws.refused(&["put-key-policy", "--key-id", &arn, "--policy", &bad], "MalformedPolicyDocumentException");

    aws.server.put_policy(&arn, &policy.to_string().replace("kms:Encrypt", "kms:Decrypt")).unwrap();
    aws.ok(&["disable-key", "--key-id", &arn]);
    aws.refused(&["encrypt", "--key-id", &arn, "--plaintext", &plain], "DisabledException");
    aws.ok(&["enable-key", "--key-id", &arn]);
    aws.ok(&["encrypt", "--key-id", &arn, "--plaintext", &plain]);
    aws.ok(&["schedule-key-deletion", "--key-id", &arn, "--pending-window-in-days", "7"]);
    aws.refused(&["encrypt", "--key-id", &arn, "--plaintext", &plain], "KMSInvalidStateException");
}

#[test]
#[ignore = "needs the aws command line; `cargo xtask sim test` has one"]
fn the_aws_command_line_understands_what_is_wrong() {
    let mut aws = Aws::start("wrong");
    // It tries again by itself, three more times.
    aws.server.faults().next(1, Fault::Throttle);
    aws.ok(&["list-keys"]);
    assert_eq!(
        aws.server.requests().iter().map(|entry| entry.outcome.as_str()).collect::<Vec<_>>(),
        ["ThrottlingException", "ok"]
    );
    aws.server.faults().next(1, Fault::ExpiredToken);
    aws.refused(&["list-keys"], "ExpiredTokenException");
    aws.server.faults().next(1, Fault::WrongCertificate);
    let error = aws.run(&["list-keys"]).unwrap_or_else(|error| error.into());
    // It may try again, by which time the certificate is right.
    assert!(
        error.is_object() || error.as_str().is_some_and(|text| text.to_lowercase().contains("certificate")),
        "{error}"
    );
    aws.server.faults().clear();
    aws.server.add_principal("AKIDDEVELOPER", "another secret", None, USER, None);
    aws.refused(&["list-keys"], "InvalidSignatureException");
    aws.server.add_principal("AKIDDEVELOPER", "developers/secret+key", Some("t/+="), USER, None);
    aws.refused(&["list-keys"], "UnrecognizedClientException");
    aws.token = Some("t/+=");
    aws.ok(&["list-keys"]);
    aws.server.add_principal("AKIDDEVELOPER", "developers/secret+key", Some("t/+="), USER, Some(1));
    aws.refused(&["list-keys"], "ExpiredTokenException");
    assert!(Path::new(&aws.server.ca_pem_path()).exists());
}

/// `tmkms nitro import-key encrypt` has this command line do it: over a pipe, in a context that says what the key is for.
#[test]
#[ignore = "needs the aws command line; `cargo xtask sim test` has one"]
fn the_aws_command_line_encrypts_a_key_that_is_imported_straight_away() {
    use clap::Parser;
    let aws = Aws::start("import");
    let program = std::env::var("AWS").unwrap_or_else(|_| "aws".into());
    let (url, ca) = (aws.server.url(), aws.server.ca_pem_path());
    let wrapper = aws.file(
        "aws-of-this-test",
        format!(
            "#!/bin/sh\nexport AWS_ENDPOINT_URL_KMS='{url}' AWS_CA_BUNDLE='{}' AWS_ACCESS_KEY_ID=AKIDDEVELOPER \
             AWS_SECRET_ACCESS_KEY='developers/secret+key'\nexec '{program}' \"$@\"\n",
            ca.display()
        )
        .as_bytes(),
    );
    let mode = |path: &str, mode: u32| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, permissions).unwrap();
    };
    mode(&wrapper, 0o700);
    let key = aws.ok(&["create-key"]);
    let arn = text(&key, "/KeyMetadata/Arn");
    let run = |line: &[&str]| {
        let mut out = Vec::new();
        let line = [&["tmkms"], line].concat();
        let ended = tmkms::Cli::try_parse_from(&line).unwrap().run(&mut out);
        (String::from_utf8(out).unwrap(), ended.map_err(|failure| format!("{:?}", failure.problems)))
    };
    let file = aws.dir.join("consensus.key").display().to_string();
    run(&["softsign", "keygen", "-t", "consensus", &file]).1.unwrap();
    let out = aws.dir.join("made").display().to_string();
    let line = [
        "nitro",
        "import-key",
        "encrypt",
        "-f",
        "base64",
        "--chain-id",
        "a-1",
        "--key",
        arn,
        "--out",
        &out,
        "--aws",
        &wrapper,
    ];
    let (_, refused) = run(&[&line[..], &[&file]].concat());
    assert!(refused.unwrap_err().contains("without its state it could sign twice"));
    let nowhere = arn.replace("111122223333", "999922223333");
    let other: Vec<&str> = line.iter().map(|word| if *word == arn { &*nowhere } else { word }).collect();
    let (_, refused) = run(&[&other[..], &["--never-signed", &file]].concat());
    assert!(refused.unwrap_err().contains("nothing was written") && !Path::new(&out).exists());

    let (said, ended) = run(&[&line[..], &["--height", "1234", &file]].concat());
    assert_eq!(ended, Ok(()), "{said}");
    assert!(said.contains("1234") && said.contains("must never sign with it again"), "{said}");
    let read = |name: &str| std::fs::read_to_string(Path::new(&out).join(name)).unwrap();
    let public = read("public-key.txt").lines().find_map(|line| line.strip_prefix("base64")).unwrap().trim().to_owned();
    let context = format!("chain=a-1,purpose=consensus,public_key={public}");
    let blob = aws.file("blob", &unbase64(read("ciphertext.b64").trim()));
    let decrypted = aws.ok(&[
        "decrypt",
        "--key-id",
        arn,
        "--ciphertext-blob",
        &format!("fileb://{blob}"),
        "--encryption-context",
        &context,
    ]);
    assert_eq!(unbase64(text(&decrypted, "/Plaintext")), std::fs::read(&file).unwrap());
    assert!(
        read("tmkms-lines.toml").contains(&public) && Path::new(&out).join("a-1_priv_validator_state.json").exists()
    );
}
