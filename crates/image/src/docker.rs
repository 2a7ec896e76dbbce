//! An image as `nitro-cli build-enclave` makes it from a Docker image: AWS's init boots, changes its root to the Docker image's
//! files and starts what the Docker image says.
//!
//! Which paths and permissions there are is taken from nitro-cli (`enclave_build/src/yaml_generator.rs`: two ramdisks, the image's
//! files under `rootfs/`; `docker.rs`, `write_config`: `cmd` and `env` with one word a line), from LinuxKit, which it runs
//! (`moby/image.go`: what a Docker image gets and loses), and from what AWS's init opens (`init/init.c` of
//! aws-nitro-enclaves-sdk-bootstrap). The archives' bytes are our own (order, times), so **the measurements are not those
//! that nitro-cli's run gives** for the same image.
mod context;
mod root;

pub use context::{DOCKERFILE, docker_context, dockerfile};
pub use root::docker_root;

use crate::cpio::{Node, archive, check_name};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Where AWS's init changes its root to.
const ROOT: &str = "rootfs";
const BINARY: &str = "tmkms";
/// What AWS's init mounts over, so that a file in it would never be seen.
const HIDDEN: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];
/// `exclude` of LinuxKit: what Docker puts into every container.
const LEFT_OUT: [&str; 6] = [".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname"];
/// `touch` of LinuxKit, and the folders of nitro-cli's customer ramdisk: what AWS's init mounts over must be there.
const FOLDERS: [&str; 9] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "run", "sys", "tmp", "var"];
/// `touch` of LinuxKit: links, and where they lead.
const LINKS: [(&str, &str); 2] = [("etc/mtab", "/proc/mounts"), ("etc/resolv.conf", "/run/resolvconf/resolv.conf")];
/// `replace` of LinuxKit.
const HOSTS: &str = "127.0.0.1       localhost\n::1     localhost ip6-localhost ip6-loopback\nfe00::0 ip6-localnet\n\
                     ff00::0 ip6-mcastprefix\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n";

/// The two ramdisks: the boot ramdisk with AWS's `init` and, for a kernel without a driver of its own, its module for the Nitro
/// Secure Module; and the application's with the Docker image's files, its command and its environment.
///
/// # Errors
/// A file under a name that it cannot have, a command that is none, a word that does not fit on a line.
pub fn docker_layout(
    init: &[u8],
    nsm_ko: Option<&[u8]>,
    rootfs: &BTreeMap<String, Node>,
    cmd: &[String],
    env: &[String],
) -> Result<Vec<Vec<u8>>> {
    if cmd.first().is_none_or(String::is_empty) {
        let what = "an image for nitro-cli: expected a command, such as CMD [\"/tmkms\", \"nitro\", \"start\"] in its Dockerfile; it has none";
        return Err(Error::Input(what.to_owned()));
    }
    Ok(vec![boot(init, nsm_ko)?, application(rootfs, cmd, env)?])
}

/// What the Dockerfile of this repository puts into an image, without Docker: the program as `/tmkms`, and these files, by their
/// paths in the image, readable for root only.
///
/// # Errors
/// A path that leads elsewhere, or that AWS's tools or its init put something else at.
pub fn docker_rootfs(program: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<String, Node>> {
    let mut nodes = BTreeMap::from([(BINARY.to_owned(), Node::File { mode: 0o755, bytes: program.to_vec() })]);
    for (path, bytes) in files {
        let name = place(path)?;
        let folders = name.match_indices('/').map(|(end, _)| name[..end].to_owned());
        nodes.extend(folders.map(|name| (name, folder())));
        nodes.insert(name.to_owned(), Node::File { mode: 0o600, bytes: bytes.clone() });
    }
    Ok(nodes)
}

/// A file's place in the image, if it can have it.
fn place(path: &str) -> Result<&str> {
    let name = path.strip_prefix('/').unwrap_or(path);
    check_name(name).map_err(Error::Input)?;
    let first = name.split('/').next().unwrap_or(name);
    let is_link = LINKS.iter().any(|(link, _)| *link == name);
    let is_taken = is_link || name == "etc/hosts" || FOLDERS.contains(&name) || LEFT_OUT.contains(&name);
    if first == BINARY || HIDDEN.contains(&first) || is_taken {
        return Err(Error::Input(format!(
            "/{name} cannot be a file of a Docker image for nitro-cli: the binary, LinuxKit or AWS's init has that place; choose another one"
        )));
    }
    Ok(name)
}

fn boot(init: &[u8], nsm_ko: Option<&[u8]>) -> Result<Vec<u8>> {
    let program = |bytes: &[u8]| Node::File { mode: 0o755, bytes: bytes.to_vec() };
    let mut nodes = BTreeMap::from([("dev".to_owned(), folder()), ("init".to_owned(), program(init))]);
    nodes.extend(nsm_ko.map(|module| ("nsm.ko".to_owned(), program(module))));
    archive(&nodes)
}

fn application(rootfs: &BTreeMap<String, Node>, cmd: &[String], env: &[String]) -> Result<Vec<u8>> {
    let mut nodes = BTreeMap::from([
        (ROOT.to_owned(), folder()),
        ("cmd".to_owned(), lines("CMD", cmd)?),
        ("env".to_owned(), lines("ENV", env)?),
    ]);
    for (name, node) in rootfs.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
        check_name(name).map_err(Error::Input)?;
        nodes.insert(format!("{ROOT}/{name}"), node.clone());
    }
    let fixed = FOLDERS.iter().map(|name| (*name, folder()));
    let links = LINKS.iter().map(|(name, target)| (*name, Node::Link { target: (*target).to_owned() }));
    let hosts = [("etc/hosts", Node::File { mode: 0o644, bytes: HOSTS.as_bytes().to_vec() })];
    for (name, node) in fixed.chain(links).chain(hosts) {
        put(&mut nodes, name, node)?;
    }
    archive(&nodes)
}

/// Puts in what AWS's tools put in; a folder of the Docker image stays as it is, anything else of that name is replaced.
fn put(nodes: &mut BTreeMap<String, Node>, name: &str, node: Node) -> Result<()> {
    let place = format!("{ROOT}/{name}");
    let is_folder = matches!(node, Node::Folder { .. });
    match nodes.get(&place) {
        Some(Node::Folder { .. }) if is_folder => {}
        Some(there) if is_folder || matches!(there, Node::Folder { .. }) => {
            let kind = if is_folder { "a folder" } else { "no folder" };
            return Err(Error::Input(format!("/{name} in an image for nitro-cli: expected {kind}")));
        }
        _ => drop(nodes.insert(place, node)),
    }
    Ok(())
}

/// One word a line, as AWS's init reads it (`read_config`).
fn lines(what: &str, words: &[String]) -> Result<Node> {
    let mut text = String::new();
    for word in words {
        if word.contains(['\n', '\0']) {
            return Err(Error::Input(format!(
                "{what} of an image for nitro-cli: expected words without a line's end, got {word:?}"
            )));
        }
        text += word;
        text.push('\n');
    }
    Ok(Node::File { mode: 0o644, bytes: text.into_bytes() })
}

const fn folder() -> Node {
    Node::Folder { mode: 0o755 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::entries;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn file(bytes: &[u8]) -> Node {
        Node::File { mode: 0o600, bytes: bytes.to_vec() }
    }

    fn layout(rootfs: &BTreeMap<String, Node>) -> Result<Vec<BTreeMap<String, Node>>> {
        let ramdisks =
            docker_layout(b"init", None, rootfs, &words(&["/tmkms", "nitro", "start"]), &words(&["PATH=/"]))?;
        ramdisks.iter().map(|ramdisk| entries(ramdisk)).collect()
    }

    #[test]
    fn the_boot_ramdisk_is_aws_s_init_and_its_module_and_an_empty_dev() {
        let boot = |module: Option<&[u8]>| {
            let ramdisks = docker_layout(b"init", module, &BTreeMap::new(), &words(&["/x"]), &[]).unwrap();
            entries(&ramdisks[0]).unwrap()
        };
        let names = |module| boot(module).into_keys().collect::<Vec<_>>();
        assert_eq!(names(None), ["dev", "init"]);
        assert_eq!(names(Some(b"module")), ["dev", "init", "nsm.ko"]);
        assert_eq!(boot(None)["init"], Node::File { mode: 0o755, bytes: b"init".to_vec() });
    }

    #[test]
    fn the_docker_image_lies_under_rootfs_with_what_aws_s_init_mounts_over_and_its_command_beside_it() {
        let image = BTreeMap::from([
            ("certs".to_owned(), Node::Folder { mode: 0o700 }),
            ("certs/root.pem".to_owned(), file(b"pem")),
            ("tmkms".to_owned(), Node::File { mode: 0o755, bytes: b"program".to_vec() }),
            (".dockerenv".to_owned(), file(b"")),
        ]);
        let application = &layout(&image).unwrap()[1];
        let names: Vec<_> = application.keys().map(String::as_str).collect();
        let expected = [
            "cmd",
            "env",
            "rootfs",
            "rootfs/certs",
            "rootfs/certs/root.pem",
            "rootfs/dev",
            "rootfs/dev/pts",
            "rootfs/dev/shm",
            "rootfs/etc",
            "rootfs/etc/hosts",
            "rootfs/etc/mtab",
            "rootfs/etc/resolv.conf",
            "rootfs/proc",
            "rootfs/run",
            "rootfs/sys",
            "rootfs/tmkms",
            "rootfs/tmp",
            "rootfs/var",
        ];
        assert_eq!(names, expected);
        assert_eq!(application["cmd"], Node::File { mode: 0o644, bytes: b"/tmkms\nnitro\nstart\n".to_vec() });
        assert_eq!(application["env"], Node::File { mode: 0o644, bytes: b"PATH=/\n".to_vec() });
        assert_eq!(application["rootfs/certs"], Node::Folder { mode: 0o700 });
        assert_eq!(application["rootfs/certs/root.pem"], file(b"pem"));
    }

    #[test]
    fn the_root_folder_without_docker_has_the_program_and_the_operator_s_files_in_their_folders() {
        let files = BTreeMap::from([("/certs/kms/root.pem".to_owned(), b"pem".to_vec())]);
        let expected = BTreeMap::from([
            ("certs".to_owned(), folder()),
            ("certs/kms".to_owned(), folder()),
            ("certs/kms/root.pem".to_owned(), file(b"pem")),
            ("tmkms".to_owned(), Node::File { mode: 0o755, bytes: b"program".to_vec() }),
        ]);
        assert_eq!(docker_rootfs(b"program", &files).unwrap(), expected);
        assert!(docker_rootfs(b"", &BTreeMap::from([("tmkms".to_owned(), vec![])])).is_err());
    }

    #[test]
    fn a_folder_of_the_docker_image_keeps_its_permissions_and_a_file_in_its_place_is_refused() {
        let mine = BTreeMap::from([("tmp".to_owned(), Node::Folder { mode: 0o1777 })]);
        assert_eq!(layout(&mine).unwrap()[1]["rootfs/tmp"], Node::Folder { mode: 0o1777 });
        let wrong = layout(&BTreeMap::from([("tmp".to_owned(), file(b""))])).unwrap_err().to_string();
        assert!(wrong.contains("/tmp in an image for nitro-cli: expected a folder"), "{wrong}");
        let etc = BTreeMap::from([("etc".to_owned(), folder()), ("etc/hosts".to_owned(), folder())]);
        assert!(layout(&etc).unwrap_err().to_string().contains("expected no folder"));
    }

    #[test]
    fn a_command_that_is_none_and_words_that_break_a_line_are_refused() {
        let with =
            |cmd: &[&str], env: &[&str]| docker_layout(b"init", None, &BTreeMap::new(), &words(cmd), &words(env));
        assert!(with(&[], &[]).unwrap_err().to_string().contains("expected a command"));
        assert!(with(&[""], &[]).is_err());
        assert!(with(&["/x", "a\nb"], &[]).unwrap_err().to_string().contains("CMD"));
        assert!(with(&["/x"], &["A=1\nB=2"]).unwrap_err().to_string().contains("ENV"));
        assert!(with(&["/x", ""], &["A="]).is_ok());
    }
}
