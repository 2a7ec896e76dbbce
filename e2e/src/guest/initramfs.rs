//! The guest's first file system: busybox, modules, programs with the libraries that they need, and the test's script.
use super::tools::Tools;
use anyhow::{Context, Result, ensure};
use image::Node;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first process.
const INIT: &str = include_str!("init.sh");

/// The nodes of an archive by their names, which have no leading slash.
#[derive(Default)]
pub struct Initramfs(BTreeMap<String, Node>);

impl Initramfs {
    /// With init, busybox' commands and these modules.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn new(tools: &Tools, modules: &[&str], script: &str) -> Result<Self> {
        let mut made = Self::default();
        for folder in ["proc", "sys", "run", "tmp", "root"] {
            made.folder(folder);
        }
        // For the first process' own output, before devtmpfs is mounted.
        made.put("dev/console", Node::Device { mode: 0o600, major: 5, minor: 1 });
        made.put("dev/null", Node::Device { mode: 0o666, major: 1, minor: 3 });
        made.put("bin/busybox", Node::File { mode: 0o755, bytes: fs::read(&tools.busybox)? });
        for applet in applets(&tools.busybox)? {
            made.put(&format!("bin/{applet}"), Node::Link { target: "busybox".to_owned() });
        }
        let mut order = String::new();
        for (name, bytes) in tools.with_dependencies(modules)? {
            order += &format!("{name}.ko\n");
            made.put(&format!("modules/{name}.ko"), Node::File { mode: 0o644, bytes });
        }
        made.text("modules/order", &order, 0o644);
        made.text("init", INIT, 0o755);
        made.text("script", script, 0o644);
        Ok(made)
    }

    /// The host's program at `path`, without its debug information, and the libraries that it is linked with, each where it is on the host.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn program(&mut self, host: &Path, path: &str) -> Result<()> {
        self.put(path, Node::File { mode: 0o755, bytes: stripped(host)? });
        for library in libraries(host)? {
            let name = library.to_string_lossy().into_owned();
            self.put(&name, Node::File { mode: 0o755, bytes: fs::read(&library)? });
        }
        Ok(())
    }

    /// A file or a folder with all that is in it, with its permissions.
    ///
    /// # Errors
    /// When it cannot be read, or is neither.
    pub fn tree(&mut self, host: &Path, path: &str) -> Result<()> {
        let metadata = fs::symlink_metadata(host).with_context(|| format!("cannot read {}", host.display()))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_file() {
            self.put(path, Node::File { mode, bytes: fs::read(host)? });
            return Ok(());
        }
        ensure!(metadata.is_dir(), "{} is neither a file nor a folder", host.display());
        self.put(path, Node::Folder { mode });
        for entry in fs::read_dir(host)? {
            let entry = entry?;
            // Sockets and pipes of a running arrangement are no part of what it keeps.
            if entry.file_type()?.is_file() || entry.file_type()?.is_dir() {
                self.tree(&entry.path(), &format!("{path}/{}", entry.file_name().to_string_lossy()))?;
            }
        }
        Ok(())
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, to: &Path) -> Result<()> {
        let bytes = image::archive(&self.0).context("cannot make the guest's first file system")?;
        fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
    }

    fn text(&mut self, path: &str, text: &str, mode: u32) {
        self.put(path, Node::File { mode, bytes: text.as_bytes().to_vec() });
    }

    fn folder(&mut self, path: &str) {
        self.0.entry(path.to_owned()).or_insert(Node::Folder { mode: 0o755 });
    }

    /// Puts it there, with the folders above it.
    fn put(&mut self, path: &str, node: Node) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            self.folder(&path[..at]);
        }
        self.0.insert(path.to_owned(), node);
    }
}

fn applets(busybox: &Path) -> Result<Vec<String>> {
    let output = Command::new(busybox).arg("--list").output().context("busybox does not run on this machine")?;
    let names = String::from_utf8(output.stdout)?;
    Ok(names.lines().filter(|name| *name != "busybox").map(str::to_owned).collect())
}

/// Debug information is most of a program, and would have to be unpacked at every boot.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let output = std::env::temp_dir().join(format!("tmkms-strip-{}-{:p}", std::process::id(), program));
    let strip = Command::new("strip").arg("-o").arg(&output).arg(program).output();
    let bytes = match strip {
        Ok(done) if done.status.success() => fs::read(&output),
        // Without binutils it is merely larger.
        _ => fs::read(program),
    };
    let _ = fs::remove_file(&output);
    bytes.with_context(|| format!("cannot read {}", program.display()))
}

/// What `ldd` says: `libc.so.6 => /lib/… (0x…)`, and the loader's own path alone; nothing of a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!said.contains("not found"), "{} lacks libraries: {said}", program.display());
    Ok(listed(&said))
}

fn listed(said: &str) -> Vec<PathBuf> {
    let paths = said.lines().filter_map(|line| {
        let right = line.split_once(" => ").map_or(line, |(_, right)| right).trim();
        right.strip_prefix('/').and_then(|rest| rest.split(' ').next()).map(|rest| PathBuf::from(format!("/{rest}")))
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_says() {
        let said = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            listed(said),
            [PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"), "/lib64/ld-linux-x86-64.so.2".into()]
        );
        assert!(listed("\tstatically linked\n").is_empty());
    }

    #[test]
    fn a_file_brings_the_folders_above_it() {
        let mut made = Initramfs::default();
        made.text("/a/b/c", "x", 0o644);
        assert_eq!(made.0.keys().collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
        image::archive(&made.0).unwrap();
    }
}
