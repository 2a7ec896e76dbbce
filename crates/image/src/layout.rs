//! What lies where in an image of ours: two ramdisks, one the same for everybody, one an operator's.
use crate::cpio::{Node, archive, check_name};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// What the boot ramdisk holds. The application's ramdisk is unpacked over it, so it must not name any of these: PCR1
/// alone would say less than people think.
const OF_BOOT: [&str; 4] = ["init", "dev", "proc", "sys"];

/// The boot ramdisk: the program as `/init`, and what the kernel and the program need before anything is mounted.
///
/// `/dev/console` is what the kernel opens for init's standard streams (`init/main.c`, `console_on_rootfs`).
///
/// # Errors
/// A program that does not fit.
pub fn boot_ramdisk(init: &[u8]) -> Result<Vec<u8>> {
    let folder = || Node::Folder { mode: 0o755 };
    let nodes = BTreeMap::from([
        ("dev".to_owned(), folder()),
        ("dev/console".to_owned(), Node::Device { mode: 0o600, major: 5, minor: 1 }),
        ("dev/null".to_owned(), Node::Device { mode: 0o666, major: 1, minor: 3 }),
        ("init".to_owned(), Node::File { mode: 0o755, bytes: init.to_vec() }),
        ("proc".to_owned(), folder()),
        ("sys".to_owned(), folder()),
    ]);
    archive(&nodes)
}

/// The policy's place in an image, always there: an empty one says that nothing was chosen. So a ramdisk that was lost on the way
/// (Linux goes on without one that it cannot unpack) is not taken for an image without a policy.
const POLICY: &str = "policy.toml";

/// The application's ramdisk: these files, by their paths in the image (with or without a leading slash), readable for
/// root only, and an empty policy where there is none among them.
///
/// # Errors
/// A path that leads elsewhere, or one that the boot ramdisk has.
pub fn app_ramdisk(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
    let mut nodes = BTreeMap::new();
    for (path, bytes) in files {
        let name = path.strip_prefix('/').unwrap_or(path);
        check_name(name).map_err(Error::Input)?;
        let first = name.split('/').next().unwrap_or(name);
        if OF_BOOT.contains(&first) {
            return Err(Error::Input(format!("/{name} cannot be put into an image: /{first} is of the boot ramdisk")));
        }
        for (end, _) in name.match_indices('/') {
            let folder = Node::Folder { mode: 0o755 };
            put(&mut nodes, &name[..end], folder)?;
        }
        put(&mut nodes, name, Node::File { mode: 0o600, bytes: bytes.clone() })?;
    }
    nodes.entry(POLICY.to_owned()).or_insert_with(|| Node::File { mode: 0o600, bytes: Vec::new() });
    archive(&nodes)
}

/// Puts it there, where nothing else is; a folder may be named again.
fn put(nodes: &mut BTreeMap<String, Node>, name: &str, node: Node) -> Result<()> {
    match nodes.get(name) {
        Some(there) if *there == node && matches!(there, Node::Folder { .. }) => Ok(()),
        Some(_) => Err(Error::Input(format!("/{name} is named twice for one image"))),
        None => {
            nodes.insert(name.to_owned(), node);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::entries;

    #[test]
    fn the_program_is_init_and_a_console_is_there_before_anything_is_mounted() {
        let nodes = entries(&boot_ramdisk(b"program").unwrap()).unwrap();
        assert_eq!(nodes["init"], Node::File { mode: 0o755, bytes: b"program".to_vec() });
        assert_eq!(nodes["dev/console"], Node::Device { mode: 0o600, major: 5, minor: 1 });
    }

    #[test]
    fn an_operator_s_files_get_their_folders() {
        let files = BTreeMap::from([("/certs/kms/root.pem".to_owned(), b"pem".to_vec())]);
        let nodes = entries(&app_ramdisk(&files).unwrap()).unwrap();
        let names: Vec<_> = nodes.keys().map(String::as_str).collect();
        assert_eq!(names, ["certs", "certs/kms", "certs/kms/root.pem", "policy.toml"]);
    }

    #[test]
    fn an_operator_s_files_cannot_replace_what_boots() {
        for path in ["/init", "init", "/dev/nsm", "dev", "proc/x", "/../init", "a/../init", "/"] {
            let files = BTreeMap::from([(path.to_owned(), vec![])]);
            assert!(app_ramdisk(&files).is_err(), "{path}");
        }
    }

    #[test]
    fn one_path_in_two_ways_of_writing_is_refused() {
        let twice = BTreeMap::from([("/a".to_owned(), vec![]), ("a".to_owned(), vec![])]);
        assert!(app_ramdisk(&twice).is_err());
        let both = BTreeMap::from([("a".to_owned(), vec![]), ("a/b".to_owned(), vec![])]);
        assert!(app_ramdisk(&both).is_err());
    }

    #[test]
    fn nothing_chosen_is_an_empty_policy_and_a_policy_stays_what_it_is() {
        let policy =
            |files: &BTreeMap<String, Vec<u8>>| entries(&app_ramdisk(files).unwrap()).unwrap()["policy.toml"].clone();
        assert_eq!(policy(&BTreeMap::new()), Node::File { mode: 0o600, bytes: Vec::new() });
        let chosen = BTreeMap::from([("/policy.toml".to_owned(), b"[kms]".to_vec())]);
        assert_eq!(policy(&chosen), Node::File { mode: 0o600, bytes: b"[kms]".to_vec() });
    }
}
