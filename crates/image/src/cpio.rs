//! cpio archives in the form that the kernel unpacks (`Documentation/driver-api/early-userspace/buffer-format.rst`,
//! "newc"), uncompressed: a compressor's next version would be another measurement.
use crate::error::{Error, Malformed, Result};
use std::collections::BTreeMap;

/// The longest archive that is read or written: an image of a few megabytes is the goal, a guest's is larger.
pub const MAX_ARCHIVE_BYTES: usize = 1 << 30;

const MAGIC: &[u8] = b"070701";
const HEADER_BYTES: usize = 110;
const LAST_NAME: &str = "TRAILER!!!";
/// The next archive must begin at a multiple of four, or the kernel takes it for a compressed one (`init/initramfs.c`);
/// other programs write archives in blocks of 512.
const BLOCK_BYTES: usize = 512;
/// `PATH_MAX` of the kernel, with the final zero.
const MAX_NAME_BYTES: usize = 4096;

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;
const KIND: u32 = 0o170_000;

/// One thing in an archive. Owner and group are always root, times always zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder with these permissions.
    Folder {
        /// Such as `0o755`.
        mode: u32,
    },
    /// A file.
    File {
        /// Such as `0o644`.
        mode: u32,
        /// What is in it.
        bytes: Vec<u8>,
    },
    /// A symbolic link to this path.
    Link {
        /// As it is written in the link.
        target: String,
    },
    /// A character device.
    Device {
        /// Such as `0o600`.
        mode: u32,
        /// Its driver's number.
        major: u32,
        /// Its own number.
        minor: u32,
    },
}

/// Writes the nodes in the order of their names, so that a folder comes before what is in it. Names have no leading slash.
///
/// # Errors
/// A name that is none, or a folder that is missing.
pub fn archive(nodes: &BTreeMap<String, Node>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (index, (name, node)) in nodes.iter().enumerate() {
        check_name(name).map_err(Error::Input)?;
        check_parent(nodes, name)?;
        let number = u32::try_from(index + 1).map_err(|_| too_large())?;
        append(&mut bytes, number, name, node)?;
    }
    append_entry(&mut bytes, &Fields { links: 1, ..Fields::default() }, LAST_NAME, &[])?;
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    Ok(bytes)
}

/// What of an entry's header is not the same in every entry.
#[derive(Default)]
struct Fields {
    number: u32,
    mode: u32,
    links: u32,
    major: u32,
    minor: u32,
}

fn append(bytes: &mut Vec<u8>, number: u32, name: &str, node: &Node) -> Result<()> {
    let fields =
        |kind: u32, mode: u32, links| Fields { number, mode: kind | (mode & !KIND), links, ..Fields::default() };
    match node {
        Node::Folder { mode } => append_entry(bytes, &fields(FOLDER, *mode, 2), name, &[]),
        Node::File { mode, bytes: content } => append_entry(bytes, &fields(FILE, *mode, 1), name, content),
        Node::Link { target } => append_entry(bytes, &fields(LINK, 0o777, 1), name, target.as_bytes()),
        Node::Device { mode, major, minor } => {
            let fields = Fields { major: *major, minor: *minor, ..fields(DEVICE, *mode, 1) };
            append_entry(bytes, &fields, name, &[])
        }
    }
}

fn append_entry(bytes: &mut Vec<u8>, fields: &Fields, name: &str, content: &[u8]) -> Result<()> {
    let size = u32::try_from(content.len()).map_err(|_| too_large())?;
    let name_size = u32::try_from(name.len() + 1).map_err(|_| too_large())?;
    if bytes.len() + content.len() > MAX_ARCHIVE_BYTES {
        return Err(too_large());
    }
    let Fields { number, mode, links, major, minor } = *fields;
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check.
    bytes.extend(MAGIC);
    for field in [number, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0] {
        bytes.extend(format!("{field:08x}").into_bytes());
    }
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok(())
}

fn too_large() -> Error {
    Error::Input(format!("a ramdisk is too large: expected at most {MAX_ARCHIVE_BYTES} bytes"))
}

/// A name in an archive is relative and goes down only.
pub(crate) fn check_name(name: &str) -> std::result::Result<(), String> {
    let is_wrong = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
    if name.len() >= MAX_NAME_BYTES || name == LAST_NAME || name.split('/').any(is_wrong) {
        return Err(format!("a name in a ramdisk: expected a relative path such as certs/root.pem, got {name:?}"));
    }
    Ok(())
}

fn check_parent(nodes: &BTreeMap<String, Node>, name: &str) -> Result<()> {
    match name.rsplit_once('/') {
        Some((parent, _)) if !matches!(nodes.get(parent), Some(Node::Folder { .. })) => {
            Err(Error::Input(format!("{name:?} in a ramdisk: expected {parent:?} to be a folder in it")))
        }
        _ => Ok(()),
    }
}

/// Reads an archive of this form.
///
/// # Errors
/// The first thing that is wrong.
pub fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Node>> {
    if bytes.len() > MAX_ARCHIVE_BYTES {
        return Err(too_large());
    }
    let mut nodes = BTreeMap::new();
    let mut at = 0;
    loop {
        let (name, node, next) = entry(bytes, at).ok_or_else(|| wrong(at))??;
        let Some(node) = node else { break };
        if nodes.insert(name.clone(), node).is_some() {
            return Err(malformed(format!("a ramdisk names {name:?} twice")));
        }
        at = next;
    }
    Ok(nodes)
}

fn wrong(at: usize) -> Error {
    malformed(format!("a ramdisk: expected an entry of a newc archive at byte {at}"))
}

fn malformed(what: String) -> Error {
    Malformed(what).into()
}

type Entry = (String, Option<Node>, usize);

/// The entry at that byte, without a node if it is the last, and where the next one begins. None if it is none.
fn entry(bytes: &[u8], at: usize) -> Option<Result<Entry>> {
    let header = bytes.get(at..at.checked_add(HEADER_BYTES)?)?;
    let fields = header.strip_prefix(MAGIC)?;
    let field = |index: usize| hexadecimal(fields.get(8 * index..8 * index + 8)?);
    let (mode, size, name_size) = (field(1)?, field(6)?, field(11)?);
    let (size, name_size) = (usize::try_from(size).ok()?, usize::try_from(name_size).ok()?);
    let name_at = at + HEADER_BYTES;
    let name_end = name_at.checked_add(name_size).filter(|_| name_size <= MAX_NAME_BYTES)?;
    let name = std::str::from_utf8(bytes.get(name_at..name_end)?.strip_suffix(b"\0")?).ok()?.to_owned();
    let content_at = name_end.next_multiple_of(4);
    let content_end = content_at.checked_add(size)?;
    let content = bytes.get(content_at..content_end)?;
    if name == LAST_NAME {
        return Some(Ok((name, None, content_end)));
    }
    if let Err(what) = check_name(&name) {
        return Some(Err(malformed(what)));
    }
    let permissions = mode & !KIND;
    let node = match mode & KIND {
        FOLDER => Node::Folder { mode: permissions },
        FILE => Node::File { mode: permissions, bytes: content.to_vec() },
        LINK => Node::Link { target: std::str::from_utf8(content).ok()?.to_owned() },
        DEVICE => Node::Device { mode: permissions, major: field(9)?, minor: field(10)? },
        _ => return Some(Err(malformed(format!("{name:?} in a ramdisk has the unknown kind {mode:o}")))),
    };
    Some(Ok((name, Some(node), content_end.next_multiple_of(4))))
}

fn hexadecimal(text: &[u8]) -> Option<u32> {
    let is_hexadecimal = text.iter().all(u8::is_ascii_hexdigit);
    u32::from_str_radix(std::str::from_utf8(text).ok().filter(|_| is_hexadecimal)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> BTreeMap<String, Node> {
        BTreeMap::from([
            ("dev".to_owned(), Node::Folder { mode: 0o755 }),
            ("dev/null".to_owned(), Node::Device { mode: 0o666, major: 1, minor: 3 }),
            ("init".to_owned(), Node::File { mode: 0o755, bytes: b"program".to_vec() }),
            ("sbin".to_owned(), Node::Link { target: "usr/sbin".to_owned() }),
        ])
    }

    #[test]
    fn what_is_written_is_read_and_ends_at_a_block() {
        let bytes = archive(&sample()).unwrap();
        assert_eq!(bytes.len() % BLOCK_BYTES, 0);
        assert_eq!(entries(&bytes).unwrap(), sample());
    }

    #[test]
    fn an_archive_has_these_very_bytes() {
        let nodes = BTreeMap::from([("a".to_owned(), Node::File { mode: 0o644, bytes: b"xyz".to_vec() })]);
        let zero = "00000000";
        let file =
            format!("07070100000001000081a4{zero}{zero}00000001{zero}00000003{zero}{zero}{zero}{zero}00000002{zero}");
        let last = format!("070701{zero}{zero}{zero}{zero}00000001{zero}{zero}{zero}{zero}{zero}{zero}0000000b{zero}");
        let mut expected = [file.as_bytes(), b"a\0xyz\0", last.as_bytes(), b"TRAILER!!!\0"].concat();
        expected.resize(512, 0);
        assert_eq!(archive(&nodes).unwrap(), expected);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["/init", "../x", "a//b", "", "a/./b", "TRAILER!!!", "a\0b"] {
            let nodes = BTreeMap::from([(name.to_owned(), Node::Folder { mode: 0o755 })]);
            assert!(archive(&nodes).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_file_without_its_folder_is_refused() {
        let nodes = BTreeMap::from([("a/b".to_owned(), Node::File { mode: 0o644, bytes: vec![] })]);
        assert!(archive(&nodes).unwrap_err().to_string().contains("expected \"a\" to be a folder"));
    }

    #[test]
    fn an_archive_that_was_cut_is_refused_wherever_it_was_cut() {
        let bytes = archive(&sample()).unwrap();
        let end = bytes.windows(10).position(|window| window == LAST_NAME.as_bytes()).unwrap() + 11;
        for length in 0..end {
            assert!(entries(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = entries(&[MAGIC, &bytes].concat());
        }
    }
}
