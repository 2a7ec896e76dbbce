//! What `tmkms config check` says of files that this user may not open as a signer has to.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs a shell's command as a user for whom a file's mode counts; none if there is no way to become one.
fn as_an_ordinary_user(command: &str, folder: &Path) -> Option<Output> {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    // Root passes over modes by two capabilities, and can give them up.
    let words: &[&str] = if is_root { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &["env"] };
    let path = format!("{}:{}", env!("CARGO_BIN_EXE_tmkms").trim_end_matches("/tmkms"), std::env::var("PATH").unwrap());
    let mut process = Command::new(words[0]);
    process.args(&words[1..]).args(["sh", "-c", command]).current_dir(folder).env("PATH", path);
    process.env_remove("TMKMS_CONFIG_FILE").output().ok()
}

/// TEST KEY: 32 bytes of the letter k, a chain, a node, and a state.
const PREPARE: &str = "umask 077; printf 'a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=' > ed.key; printf '[[chain]]\\nid = \"a-1\"\\n\
                       key_format = { type = \"hex\" }\\nstate_file = \"a.json\"\\n[[providers.softsign]]\\nchain_ids = [\"a-1\"]\\n\
                       path = \"ed.key\"\\n[[validator]]\\nchain_id = \"a-1\"\\naddr = \"unix://a.sock\"\\n' > tmkms.toml; \
                       tmkms state init --new-validator && tmkms config check";

/// A folder with what [`PREPARE`] makes, removed at the end; none where modes cannot be made to count.
struct House(PathBuf);

impl House {
    fn new(name: &str) -> Option<Self> {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tmkms-permissions-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let house = Self(folder);
        let Some(prepared) = as_an_ordinary_user(PREPARE, &house.0) else {
            eprintln!("SKIPPED: {name} needs an ordinary user, or setpriv");
            return None;
        };
        assert!(prepared.status.success(), "{prepared:?}");
        Some(house)
    }

    /// Runs a command, which fails with that code and says each of those.
    fn fails(&self, command: &str, code: i32, expected: &[&str]) {
        let output = as_an_ordinary_user(command, &self.0).unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command}: {text}");
        for part in expected {
            assert!(text.contains(part), "{command}: {part}: {text}");
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(&self.0).status();
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_key_that_may_not_be_read_names_its_setting_and_the_remedy() {
    let Some(house) = House::new("key") else { return };
    let setting = "`path` in [[providers.softsign]]: key file ed.key: cannot open it: Permission denied";
    house.fails("chmod 000 ed.key; tmkms config check", 5, &[setting, "this user's own", "run `chmod u+r ed.key`"]);
    house.fails("tmkms softsign import -f base64 ed.key new.key", 5, &["run `chmod u+r ed.key`"]);
    // Nor may it be looked for.
    let prepare =
        "chmod 600 ed.key; mkdir keys; mv ed.key keys/; sed -i 's/ed.key/keys\\/ed.key/' tmkms.toml; chmod 000 keys";
    assert!(as_an_ordinary_user(prepare, &house.0).unwrap().status.success());
    house.fails("tmkms keys show", 5, &["`path` in [[providers.softsign]]", "the folder keys", "run `chmod u+x keys`"]);
    house.fails(
        "chmod 500 keys; tmkms softsign keygen keys/new.key",
        5,
        &["cannot create it", "run `chmod u+wx keys`"],
    );
}

#[test]
fn a_configuration_that_may_not_be_read_names_the_remedy() {
    let Some(house) = House::new("configuration") else { return };
    let refused = "cannot read the configuration tmkms.toml: Permission denied";
    house.fails("chmod 000 tmkms.toml; tmkms config check", 3, &[refused, "run `chmod u+r tmkms.toml`"]);
    house.fails(
        "mkdir etc; chmod 000 etc; tmkms start -c etc/tmkms.toml",
        3,
        &["the folder etc", "run `chmod u+x etc`"],
    );
}

#[test]
fn a_file_to_import_that_may_not_be_read_names_the_remedy() {
    let Some(house) = House::new("import") else { return };
    for from in ["ours", "filepv"] {
        let command = format!(
            "cp a.json copy.json; chmod 000 copy.json; tmkms state import --from {from} copy.json; e=$?; rm -f copy.json; exit $e"
        );
        house.fails(&command, 4, &["copy.json: Permission denied", "run `chmod u+r copy.json`"]);
    }
}

#[test]
fn a_state_that_may_not_be_written_is_wrong_in_the_check_as_at_the_start() {
    let Some(house) = House::new("state") else { return };
    assert!(as_an_ordinary_user("chmod 400 a.json", &house.0).unwrap().status.success());
    for command in ["tmkms config check", "tmkms start"] {
        house.fails(command, 4, &["is not permitted (Permission denied", "run as the file's owner"]);
    }
}
