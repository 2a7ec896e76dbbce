//! What an operator puts into an image: the policy, the TLS root that it names, and files of his own.
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The policy's name in an image.
const POLICY: &str = "policy.toml";

/// Reads them, by their paths in the image: `policy.toml`, the file that `[kms] endpoint = { root = "…" }` names under that
/// same relative name, and each extra file under the name that stands beside it. Whether the policy is a good one is
/// not judged here.
///
/// # Errors
/// A file that cannot be read, a policy that is not TOML, a path that leads elsewhere or is taken.
pub fn policy_files(policy: &Path, extra: &[(PathBuf, String)]) -> Result<BTreeMap<String, Vec<u8>>> {
    let text = std::fs::read_to_string(policy).map_err(Error::of(policy))?;
    let mut files = BTreeMap::new();
    if let Some(root) = root_of(policy, &text)? {
        let source = policy.parent().unwrap_or(Path::new("")).join(&root);
        put(&mut files, &root, std::fs::read(&source).map_err(Error::of(&source))?)?;
    }
    put(&mut files, POLICY, text.into_bytes())?;
    add_files(files, extra)
}

/// Puts files of an operator's beside those that are there already.
///
/// # Errors
/// A file that cannot be read, a path that leads elsewhere or is taken.
pub fn add_files(
    mut files: BTreeMap<String, Vec<u8>>,
    extra: &[(PathBuf, String)],
) -> Result<BTreeMap<String, Vec<u8>>> {
    for (source, name) in extra {
        let name = name.strip_prefix('/').unwrap_or(name);
        put(&mut files, name, std::fs::read(source).map_err(Error::of(source))?)?;
    }
    Ok(files)
}

fn put(files: &mut BTreeMap<String, Vec<u8>>, name: &str, bytes: Vec<u8>) -> Result<()> {
    crate::cpio::check_name(name).map_err(Error::Input)?;
    match files.insert(name.to_owned(), bytes) {
        Some(_) => {
            Err(Error::Input(format!("two files are to be /{name} in the image: give one of them another name")))
        }
        None => Ok(()),
    }
}

/// The file that `[kms] endpoint` names as its TLS root.
fn root_of(policy: &Path, text: &str) -> Result<Option<String>> {
    let wrong = |what: String| Error::Input(format!("the measured policy {}: {what}", policy.display()));
    let table = DeTable::parse(text).map_err(|error| wrong(format!("not TOML: {}", error.message())))?;
    let kms = table.get_ref().get("kms").map(toml::Spanned::get_ref);
    let endpoint = kms.and_then(DeValue::as_table).and_then(|kms| kms.get("endpoint")).map(toml::Spanned::get_ref);
    let root = endpoint.and_then(DeValue::as_table).and_then(|endpoint| endpoint.get("root"));
    match root.map(toml::Spanned::get_ref) {
        None => Ok(None),
        Some(DeValue::String(root)) if crate::cpio::check_name(root).is_ok() => Ok(Some(root.to_string())),
        Some(DeValue::String(root)) => Err(wrong(format!(
            "`root`: expected a path relative to the policy, without `..`, because it has the same place in the image; got {root:?}"
        ))),
        Some(_) => Err(wrong("`root`: expected a text".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("image-files-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("certs")).unwrap();
        folder
    }

    #[test]
    fn the_root_that_a_policy_names_comes_along_under_the_same_name() {
        let folder = folder("root");
        let policy = folder.join("mine.toml");
        let text = "[kms]\nendpoint = { host = \"kms.test\", region = \"x\", root = \"certs/root.pem\" }\n";
        std::fs::write(&policy, text).unwrap();
        std::fs::write(folder.join("certs/root.pem"), "pem").unwrap();
        let extra = [(policy.clone(), "/identity/key".to_owned())];
        let files = policy_files(&policy, &extra).unwrap();
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["certs/root.pem", "identity/key", "policy.toml"]);
        assert_eq!(files["certs/root.pem"], b"pem");

        std::fs::remove_file(folder.join("certs/root.pem")).unwrap();
        let missing = policy_files(&policy, &[]).unwrap_err().to_string();
        assert!(missing.contains("certs/root.pem"), "{missing}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_root_elsewhere_and_a_taken_name_are_refused() {
        let folder = folder("elsewhere");
        let policy = folder.join("policy.toml");
        std::fs::write(&policy, "[kms.endpoint]\nroot = \"../root.pem\"\n").unwrap();
        let elsewhere = policy_files(&policy, &[]).unwrap_err().to_string();
        assert!(elsewhere.contains("relative to the policy"), "{elsewhere}");
        std::fs::write(&policy, "[debug]\nallowed = false\n").unwrap();
        let taken = policy_files(&policy, &[(policy.clone(), "policy.toml".to_owned())]).unwrap_err().to_string();
        assert!(taken.contains("two files are to be /policy.toml"), "{taken}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
