//! Where two images differ first, in words that lead to the cause.
use crate::Parts;
use crate::cpio::{Node, entries};
use std::collections::BTreeMap;
use std::fmt;

/// The first difference of two images: in what they differ, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Such as "the kernel" or "/init in the boot ramdisk".
    pub place: String,
    /// What is there and there.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Compares in the order in which an image is measured. None if all is the same.
#[must_use]
pub fn difference(ours: &Parts, theirs: &Parts) -> Option<Difference> {
    of_bytes("the kernel", &ours.kernel, &theirs.kernel)
        .or_else(|| of_cmdlines(&ours.cmdline, &theirs.cmdline))
        .or_else(|| of_ramdisks(&ours.ramdisks, &theirs.ramdisks))
}

fn of_bytes(place: &str, ours: &[u8], theirs: &[u8]) -> Option<Difference> {
    let what = match ours.iter().zip(theirs).position(|(our, their)| our != their) {
        Some(at) => format!(
            "the first differing byte is at {at}: ours {:#04x} of {} bytes, theirs {:#04x} of {}",
            ours[at],
            ours.len(),
            theirs[at],
            theirs.len()
        ),
        None if ours.len() != theirs.len() => {
            format!(
                "ours has {} bytes, theirs {}; the shorter one is how the longer one begins",
                ours.len(),
                theirs.len()
            )
        }
        None => return None,
    };
    Some(Difference { place: place.to_owned(), what })
}

fn of_cmdlines(ours: &str, theirs: &str) -> Option<Difference> {
    (ours != theirs).then(|| Difference {
        place: "the kernel's command line".to_owned(),
        what: format!("ours {ours:?}, theirs {theirs:?}"),
    })
}

fn of_ramdisks(ours: &[Vec<u8>], theirs: &[Vec<u8>]) -> Option<Difference> {
    let first = ours.iter().zip(theirs).enumerate().find_map(|(index, (our, their))| {
        let place = if index == 0 { "the boot ramdisk".to_owned() } else { format!("application ramdisk {index}") };
        of_ramdisk(&place, our, their)
    });
    first.or_else(|| {
        (ours.len() != theirs.len()).then(|| Difference {
            place: "the number of ramdisks".to_owned(),
            what: format!("ours {}, theirs {}", ours.len(), theirs.len()),
        })
    })
}

/// By what is in them, where both can be read; by their bytes otherwise.
fn of_ramdisk(place: &str, ours: &[u8], theirs: &[u8]) -> Option<Difference> {
    if ours == theirs {
        return None;
    }
    let nodes = entries(ours).ok().zip(entries(theirs).ok());
    nodes.and_then(|(ours, theirs)| of_nodes(place, &ours, &theirs)).or_else(|| of_bytes(place, ours, theirs))
}

fn of_nodes(place: &str, ours: &BTreeMap<String, Node>, theirs: &BTreeMap<String, Node>) -> Option<Difference> {
    let lacks =
        |who: &str, name: &str| Difference { place: format!("/{name} in {place}"), what: format!("{who} has none") };
    let only_theirs = theirs.keys().find(|name| !ours.contains_key(*name)).map(|name| lacks("ours", name));
    let in_ours = ours.iter().find_map(|(name, our)| match theirs.get(name) {
        Some(their) => of_node(&format!("/{name} in {place}"), our, their),
        None => Some(lacks("theirs", name)),
    });
    in_ours.or(only_theirs)
}

fn of_node(place: &str, ours: &Node, theirs: &Node) -> Option<Difference> {
    match (ours, theirs) {
        (Node::File { mode, bytes }, Node::File { mode: their_mode, bytes: their_bytes }) if mode == their_mode => {
            of_bytes(place, bytes, their_bytes)
        }
        _ => (ours != theirs).then(|| Difference {
            place: place.to_owned(),
            what: format!("ours is {}, theirs {}", described(ours), described(theirs)),
        }),
    }
}

fn described(node: &Node) -> String {
    match node {
        Node::Folder { mode } => format!("a folder of mode {mode:o}"),
        Node::File { mode, bytes } => format!("a file of mode {mode:o} and {} bytes", bytes.len()),
        Node::Link { target } => format!("a link to {target:?}"),
        Node::Device { mode, major, minor } => format!("the device {major}:{minor} of mode {mode:o}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app_ramdisk, boot_ramdisk};

    fn parts() -> Parts {
        let files = BTreeMap::from([("policy.toml".to_owned(), b"[debug]".to_vec())]);
        let ramdisks = vec![boot_ramdisk(b"program").unwrap(), app_ramdisk(&files).unwrap()];
        Parts { kernel: b"kernel".to_vec(), cmdline: "console=ttyS0".to_owned(), ramdisks }
    }

    fn told(change: impl FnOnce(&mut Parts)) -> String {
        let mut theirs = parts();
        change(&mut theirs);
        difference(&parts(), &theirs).expect("a difference").to_string()
    }

    #[test]
    fn the_same_has_no_difference() {
        assert_eq!(difference(&parts(), &parts()), None);
    }

    #[test]
    fn the_place_and_the_byte_are_named() {
        assert!(told(|theirs| theirs.kernel[3] = b'N').starts_with("the kernel: the first differing byte is at 3"));
        assert!(told(|theirs| theirs.kernel.push(0)).starts_with("the kernel: ours has 6 bytes, theirs 7"));
        assert!(told(|theirs| theirs.cmdline.push('1')).starts_with("the kernel's command line"));
        let init = told(|theirs| theirs.ramdisks[0] = boot_ramdisk(b"progrAm").unwrap());
        assert!(init.starts_with("/init in the boot ramdisk: the first differing byte is at 5"), "{init}");
    }

    #[test]
    fn a_file_that_only_one_has_is_named() {
        // Without a policy there is an empty one.
        let none = told(|theirs| theirs.ramdisks[1] = app_ramdisk(&BTreeMap::new()).unwrap());
        assert!(none.starts_with("/policy.toml in application ramdisk 1: ours has 7 bytes, theirs 0"), "{none}");
        let more = BTreeMap::from([("policy.toml".to_owned(), b"[debug]".to_vec()), ("x".to_owned(), vec![])]);
        let more = told(|theirs| theirs.ramdisks[1] = app_ramdisk(&more).unwrap());
        assert_eq!(more, "/x in application ramdisk 1: ours has none");
        let ours = Parts {
            ramdisks: vec![boot_ramdisk(b"program").unwrap(), app_ramdisk(&BTreeMap::new()).unwrap()],
            ..parts()
        };
        let files = BTreeMap::from([("policy.toml".to_owned(), vec![]), ("x".to_owned(), vec![])]);
        let theirs = Parts { ramdisks: vec![ours.ramdisks[0].clone(), app_ramdisk(&files).unwrap()], ..parts() };
        assert_eq!(difference(&theirs, &ours).unwrap().to_string(), "/x in application ramdisk 1: theirs has none");
    }

    #[test]
    fn what_no_file_explains_is_told_by_its_bytes() {
        let padded = told(|theirs| theirs.ramdisks[1].extend([0; 512]));
        assert!(padded.starts_with("application ramdisk 1: ours has"), "{padded}");
        let fewer = told(|theirs| drop(theirs.ramdisks.pop()));
        assert_eq!(fewer, "the number of ramdisks: ours 2, theirs 1");
    }
}
