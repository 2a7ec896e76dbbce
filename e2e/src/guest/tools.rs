//! Where the guest's kernel, modules and programs are: `.cache/guest`, which `cargo xtask guest` fills.
use crate::line::repository;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the unpacked Debian packages.
#[must_use]
pub fn folder() -> PathBuf {
    repository().join(".cache/guest")
}

/// What a guest is made of.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Debian's QEMU.
    pub qemu: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// Its name, as `uname -r` says it.
    pub release: String,
    /// The static busybox.
    pub busybox: PathBuf,
    /// Every module's file by its name, with `_` for `-`.
    modules: BTreeMap<String, PathBuf>,
}

impl Tools {
    /// Finds them.
    ///
    /// # Errors
    /// What is missing, and which command brings it.
    pub fn find() -> Result<Self> {
        Self::find_in(&folder()).context("an ordinary Linux guest cannot be started; run `cargo xtask guest` first")
    }

    fn find_in(folder: &Path) -> Result<Self> {
        let qemu = PathBuf::from("/usr/bin/qemu-system-x86_64");
        let busybox = folder.join("root/bin/busybox");
        for file in [&qemu, &busybox] {
            ensure!(file.is_file(), "{} is missing", file.display());
        }
        let boot = folder.join("root/boot");
        let kernels = fs::read_dir(&boot).with_context(|| format!("no kernel in {}", boot.display()))?;
        let kernel = kernels
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
            .with_context(|| format!("no kernel in {}", boot.display()))?;
        let name = kernel.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let release = name.trim_start_matches("vmlinuz-").to_owned();
        let mut modules = BTreeMap::new();
        // Debian 12 has /lib/modules, later ones /usr/lib/modules.
        for lib in ["root/lib/modules", "root/usr/lib/modules"] {
            find_modules(&folder.join(lib).join(&release).join("kernel"), &mut modules);
        }
        ensure!(!modules.is_empty(), "no modules of {release} in {}", folder.display());
        Ok(Self { qemu, kernel, release, busybox, modules })
    }

    /// The files of modules in an order in which they can be loaded, with all that they need; what is built into the kernel has none.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn with_dependencies(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut order = Vec::new();
        for name in names {
            self.add(name, &mut order)?;
        }
        Ok(order)
    }

    fn add(&self, name: &str, order: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        let Some(file) = self.modules.get(name).filter(|_| order.iter().all(|(known, _)| known != name)) else {
            return Ok(());
        };
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let needs = dependencies(&bytes);
        needs.iter().try_for_each(|need| self.add(need, order))?;
        order.push((name.to_owned(), bytes));
        Ok(())
    }
}

/// The `depends=` of a module's `.modinfo` (`scripts/mod/modpost.c`): texts that end with a zero byte.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

fn find_modules(folder: &Path, modules: &mut BTreeMap<String, PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            find_modules(&path, modules);
        } else if path.extension().is_some_and(|ending| ending == "ko") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_");
            modules.insert(name, path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_needs() {
        assert_eq!(dependencies(b"x\0license=GPL\0depends=virtio,net-failover\0name=a\0"), ["virtio", "net_failover"]);
        assert!(dependencies(b"\0depends=\0name=a\0").is_empty());
        assert!(dependencies(b"").is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Tools::find_in(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("is missing"), "{error}");
    }
}
