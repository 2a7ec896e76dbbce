//! What is set aside for enclaves: the allocator's file, hugepages, CPUs, and the device. Outside of Nitro there is none of it.
use super::Case;
use super::finding::{Finding, Say};
use crate::commands::nitro::asking::plain;
use crate::measurements::read_text;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use wire::endpoint::Enclave;

const FILE: &str = "etc/nitro_enclaves/allocator.yaml";
const MAX_FILE_BYTES: u64 = 64 * 1024;
const MAX_SYS_BYTES: u64 = 4 * 1024;
/// What our image wants at least, with room: docs/operations-nitro.md, chapter 1.
const LEAST_MIB: u64 = 128;

pub(super) fn examine(case: &Case, say: Say<'_>) {
    let root = &case.root;
    let is_real = matches!(case.target.as_ref().map(|target| &target.enclave), Some(Enclave::Vsock { .. }));
    let file = match read_text(&root.join(FILE), MAX_FILE_BYTES) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            say(Finding::skipped(
                "file",
                format!("there is no /{FILE}: this is not the parent of a Nitro enclave"),
                "",
            ));
            None
        }
        Err(error) => {
            say(Finding::skipped("file", format!("cannot read /{FILE}: {error}"), "run this as root"));
            None
        }
    };
    match root.join("dev/nitro_enclaves").exists() {
        true => say(Finding::ok("device", "/dev/nitro_enclaves is there")),
        false if file.is_some() || is_real => {
            let help = "launch the instance with `--enclave-options Enabled=true`; then the driver must be loaded: `modprobe \
                        nitro_enclaves`";
            say(Finding::error("device", "expected /dev/nitro_enclaves, got none", help));
        }
        false => say(Finding::skipped(
            "device",
            "there is no /dev/nitro_enclaves: this is not the parent of a Nitro enclave",
            "",
        )),
    }
    match file.as_deref().map(parse) {
        None => {}
        Some(Err(problem)) => {
            let help = "write memory_mib: N and cpu_count: N (or cpu_pool: a list), each once";
            say(Finding::skipped("file", format!("/{FILE}: {problem}"), help));
        }
        Some(Ok(allocator)) => allocator.judge(root, say),
    }
}

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Allocator {
    memory_mib: Option<u64>,
    cpus: Option<u64>,
}

/// Reads exactly the keys that are known, by lines; whatever else stands there is not looked at.
fn parse(text: &str) -> Result<Allocator, String> {
    let mut found = Allocator::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim().trim_start_matches("- ");
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim().trim_matches(['"', '\'']));
        let (place, number) = match key {
            "memory_mib" => (&mut found.memory_mib, value.parse().ok()),
            "cpu_count" => (&mut found.cpus, value.parse().ok()),
            "cpu_pool" => (&mut found.cpus, count(value)),
            _ => continue,
        };
        let number =
            number.ok_or_else(|| format!("line {}: {key}: expected a number, got {:?}", index + 1, plain(value)))?;
        if place.replace(number).is_some() {
            return Err(format!("line {}: {key}: expected one amount of it, got a second", index + 1));
        }
    }
    Ok(found)
}

/// How many CPUs a list such as `2,3,6-9` has.
fn count(list: &str) -> Option<u64> {
    let part = |part: &str| match part.trim().split_once('-') {
        None => part.trim().parse::<u32>().ok().map(|_| 1),
        Some((first, last)) => {
            let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
            Some(u64::from(last.checked_sub(first)?) + 1)
        }
    };
    list.split(',').map(part).sum()
}

impl Allocator {
    fn judge(self, root: &Path, say: Say<'_>) {
        let edit =
            format!("write it in /{FILE}; stop the enclave, `systemctl restart nitro-enclaves-allocator`, start it");
        match self.memory_mib {
            None => say(Finding::error("memory", format!("/{FILE}: expected memory_mib, got none"), edit.clone())),
            Some(mib) if mib < LEAST_MIB => {
                let found = format!("memory_mib: expected at least {LEAST_MIB}, got {mib}");
                say(Finding::warning("memory", found, format!("256 are plenty: {edit}")));
            }
            Some(mib) => say(Finding::ok("memory", format!("{mib} MiB are to be set aside"))),
        }
        self.hugepages(root, say);
        self.cpus(root, &edit, say);
    }

    fn hugepages(self, root: &Path, say: Say<'_>) {
        let Some(wanted) = self.memory_mib else { return };
        match hugepages_mib(&root.join("sys/kernel/mm/hugepages")) {
            None => say(Finding::skipped("hugepages", "the kernel does not say how many it has", "")),
            Some(mib) if mib < wanted => {
                let help = "`systemctl restart nitro-enclaves-allocator` while no enclave runs; if it fails, memory is too \
                            fragmented: enable it, and reboot";
                say(Finding::error("hugepages", format!("expected {wanted} MiB, as memory_mib, got {mib} MiB"), help));
            }
            Some(mib) => say(Finding::ok("hugepages", format!("{mib} MiB are set aside"))),
        }
    }

    fn cpus(self, root: &Path, edit: &str, say: Say<'_>) {
        let Some(wanted) = self.cpus else {
            say(Finding::error("cpus", format!("/{FILE}: expected cpu_count or cpu_pool, got neither"), edit));
            return;
        };
        let read = |file: &str| read_text(&root.join(file), MAX_SYS_BYTES).ok().map(|text| text.trim().to_owned());
        let has_hyperthreads = read("sys/devices/system/cpu/smt/active").as_deref() == Some("1");
        if wanted == 0 || (has_hyperthreads && wanted % 2 != 0) {
            let found = if wanted == 0 {
                "expected at least one, got 0".to_owned()
            } else {
                format!("expected an even number, for a core has two threads here, got {wanted}")
            };
            let help =
                format!("an enclave has whole cores, so that no process of the parent shares one with the key: {edit}");
            say(Finding::error("cpus", found, help));
            return;
        }
        match read("sys/module/nitro_enclaves/parameters/ne_cpus")
            .map(|list| if list.is_empty() { Some(0) } else { count(&list) })
        {
            Some(Some(set)) if set < wanted => {
                let help = "`systemctl restart nitro-enclaves-allocator` while no enclave runs";
                say(Finding::error("cpus", format!("expected {wanted} that are set aside, got {set}"), help));
            }
            _ => say(Finding::ok("cpus", format!("{wanted} are to be set aside"))),
        }
    }
}

/// All hugepages that the kernel has, of every size, in MiB: those that an enclave has, too.
fn hugepages_mib(folder: &Path) -> Option<u64> {
    let mut kib: u64 = 0;
    for entry in fs::read_dir(folder).ok()?.flatten().take(64) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(size) = name.strip_prefix("hugepages-").and_then(|rest| rest.strip_suffix("kB")?.parse::<u64>().ok())
        else {
            continue;
        };
        let pages = read_text(&entry.path().join("nr_hugepages"), MAX_SYS_BYTES).ok()?.trim().parse::<u64>().ok()?;
        kib = kib.checked_add(size.checked_mul(pages)?)?;
    }
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::said;
    use super::super::tests::{Folder, case};
    use super::*;

    const TEXT: &str = "---\n# How much memory to allocate for enclaves (in MiB).\nmemory_mib: 256\n\
                        # cpu_pool: 2,3,6-9\ncpu_count: 2 # whole cores\nother: x\n";

    #[test]
    fn the_known_keys_are_read_and_nothing_else() {
        let read = |text: &str| parse(text).map(|found| (found.memory_mib, found.cpus));
        assert_eq!(read(TEXT), Ok((Some(256), Some(2))));
        assert_eq!(read(""), Ok((None, None)));
        assert_eq!(read("memory_mib: \"512\"\ncpu_pool: 2,3,6-9"), Ok((Some(512), Some(6))));
        assert_eq!(read("memory_mib_x: 1\n  memory_mib : 64\r\n"), Ok((Some(64), None)));
        for (text, expected) in [
            ("memory_mib: lots\u{1b}", "line 1: memory_mib: expected a number, got \"lots\u{fffd}\""),
            ("a: 1\ncpu_pool: 9-2", "line 2: cpu_pool: expected a number, got \"9-2\""),
            ("- memory_mib: 1\n- memory_mib: 2", "line 2: memory_mib: expected one amount of it, got a second"),
            ("cpu_count: 1\ncpu_pool: 2", "line 2: cpu_pool: expected one amount of it, got a second"),
            ("cpu_count: 99999999999999999999", "line 1: cpu_count: expected a number, got \"99999999999999999999\""),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
    }

    fn parent(smt: &str, pages: &str, cpus: &str) -> Folder {
        let folder = Folder::new();
        folder.write("root/etc/nitro_enclaves/allocator.yaml", TEXT, 0o644);
        folder.write("root/dev/nitro_enclaves", "", 0o644);
        folder.write("root/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", pages, 0o644);
        folder.write("root/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n", 0o644);
        folder.write("root/sys/devices/system/cpu/smt/active", smt, 0o644);
        folder.write("root/sys/module/nitro_enclaves/parameters/ne_cpus", cpus, 0o644);
        folder
    }

    fn examined(folder: &Folder) -> String {
        let mut case = case(folder);
        case.root = folder.file("root");
        said(|say| examine(&case, say))
    }

    #[test]
    fn a_parent_that_is_set_up_is_well() {
        let expected = "ok device: /dev/nitro_enclaves is there\nok memory: 256 MiB are to be set aside\n\
                        ok hugepages: 256 MiB are set aside\nok cpus: 2 are to be set aside\n";
        assert_eq!(examined(&parent("1\n", "128\n", "1,3\n")), expected);
    }

    #[test]
    fn what_is_not_set_aside_is_an_error_with_both_values() {
        let text = examined(&parent("1\n", "127\n", "\n"));
        assert!(text.contains("error hugepages: expected 256 MiB, as memory_mib, got 254 MiB"), "{text}");
        assert!(text.contains("error cpus: expected 2 that are set aside, got 0"), "{text}");
        let folder = parent("1\n", "128\n", "1\n");
        folder.write("root/etc/nitro_enclaves/allocator.yaml", "memory_mib: 64\ncpu_count: 1\n", 0o644);
        std::fs::remove_file(folder.file("root/dev/nitro_enclaves")).unwrap();
        let text = examined(&folder);
        assert!(text.contains("warning memory: memory_mib: expected at least 128, got 64"), "{text}");
        assert!(text.contains("error cpus: expected an even number, for a core has two threads here, got 1"), "{text}");
        assert!(text.contains("error device: expected /dev/nitro_enclaves, got none"), "{text}");
        // Without hyperthreads one is a core.
        folder.write("root/sys/devices/system/cpu/smt/active", "0\n", 0o644);
        assert!(examined(&folder).contains("ok cpus: 1 are"));
    }

    #[test]
    fn elsewhere_than_on_nitro_nothing_is_looked_for() {
        let text = examined(&Folder::new());
        assert_eq!(text.lines().filter(|line| line.starts_with("skipped ")).count(), 2, "{text}");
    }
}
