//! A Docker image's root folder, as it lies unpacked.
use crate::cpio::{MAX_ARCHIVE_BYTES, Node};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What is in the folder, by paths relative to it: folders, files and symbolic links. Owners are not read: in an archive all is
/// root's.
///
/// # Errors
/// What cannot be read, and what is none of these (an unpacked image of this project has no devices).
pub fn docker_root(folder: &Path) -> Result<BTreeMap<String, Node>> {
    let mut nodes = BTreeMap::new();
    let mut bytes = 0;
    add(&mut nodes, &mut bytes, folder, "")?;
    Ok(nodes)
}

fn add(nodes: &mut BTreeMap<String, Node>, sum: &mut u64, folder: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::of(folder))? {
        let entry = entry.map_err(Error::of(folder))?;
        let path = entry.path();
        let name = entry.file_name().into_string().map_err(|name| {
            Error::Input(format!("{}: expected a name in UTF-8, got {}", folder.display(), name.display()))
        })?;
        let name = format!("{prefix}{name}");
        let metadata = fs::symlink_metadata(&path).map_err(Error::of(&path))?;
        let mode = metadata.permissions().mode() & 0o7777;
        let kind = metadata.file_type();
        let node = if kind.is_dir() {
            add(nodes, sum, &path, &format!("{name}/"))?;
            Node::Folder { mode }
        } else if kind.is_symlink() {
            Node::Link { target: target(&path)? }
        } else if kind.is_file() {
            *sum = sum.saturating_add(metadata.len());
            if usize::try_from(*sum).is_ok_and(|sum| sum <= MAX_ARCHIVE_BYTES) {
                Node::File { mode, bytes: fs::read(&path).map_err(Error::of(&path))? }
            } else {
                return Err(Error::Input(format!("the image's files have more than {MAX_ARCHIVE_BYTES} bytes")));
            }
        } else {
            return Err(Error::Input(format!("{}: expected a file, a folder or a symbolic link", path.display())));
        };
        nodes.insert(name, node);
    }
    Ok(())
}

fn target(link: &Path) -> Result<String> {
    let target = fs::read_link(link).map_err(Error::of(link))?;
    target.into_os_string().into_string().map_err(|target| {
        Error::Input(format!("{}: expected a link's target in UTF-8, got {}", link.display(), target.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_folders_and_links_are_read_with_their_permissions_and_a_socket_is_refused() {
        let folder = std::env::temp_dir().join(format!("image-docker-root-{}", std::process::id()));
        fs::create_dir_all(folder.join("a")).unwrap();
        fs::write(folder.join("a/b"), "bytes").unwrap();
        fs::set_permissions(folder.join("a/b"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::set_permissions(folder.join("a"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("a/b", folder.join("c")).unwrap();
        let nodes = docker_root(&folder).unwrap();
        let expected = BTreeMap::from([
            ("a".to_owned(), Node::Folder { mode: 0o750 }),
            ("a/b".to_owned(), Node::File { mode: 0o4711, bytes: b"bytes".to_vec() }),
            ("c".to_owned(), Node::Link { target: "a/b".to_owned() }),
        ]);
        assert_eq!(nodes, expected);
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("s")).unwrap();
        let error = docker_root(&folder).unwrap_err().to_string();
        assert!(error.contains("expected a file, a folder or a symbolic link"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
