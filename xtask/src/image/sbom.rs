//! What is in an image, as a bill of materials (CycloneDX 1.6 in JSON): exactly the packages that cargo linked for it, and what
//! they were built with; the kernel; the C library. It depends on the sources alone, so it is the same for everybody.
use super::binary::{Binary, TARGET};
use super::kernel::Kernel;
use crate::{debian, step};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use toml::de::{DeTable, DeValue};

/// The Debian package of the static C library.
pub const LIBC: &str = "libc6-dev";

pub fn text(kernel: &Kernel, binary: &Binary) -> Result<String> {
    let metadata = metadata(binary)?;
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let checksums = checksums()?;
    let mut components = vec![kernel_component(kernel), libc_component(), std_component(binary)];
    let all: BTreeSet<_> = binary.linked.union(&binary.building).map(String::as_str).collect();
    for id in &all {
        let package = packages.get(id).with_context(|| format!("cargo metadata does not know {id}"))?;
        let scope = if binary.linked.contains(*id) { "required" } else { "excluded" };
        if package["name"] != "tmkms" {
            components.push(crate_component(package, scope, &checksums));
        }
    }
    let names: BTreeMap<&str, String> = all.iter().filter_map(|id| Some((*id, purl(packages.get(id)?)))).collect();
    let product = packages.values().find(|package| package["name"] == "tmkms").context("no tmkms in cargo metadata")?;
    let sbom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "bom-ref": purl(product),
            "name": "tmkms",
            "version": product["version"],
            "description": "Nitro Enclave image of tmkms: kernel, static program",
            "purl": purl(product),
            "licenses": licenses(product),
        } },
        "components": components,
        "dependencies": dependencies(&metadata, &names),
    });
    Ok(format!("{sbom:#}\n"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// It names more packages than are built for an image, because it unites the features of the whole workspace; what is taken
/// from it are the names, versions and licenses of those that were built.
fn metadata(binary: &Binary) -> Result<Value> {
    let mut command = binary.toolchain.cargo()?;
    command.current_dir(step::root().join("crates/tmkms"));
    command
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET])
        .args(binary.kind.features());
    serde_json::from_str(&super::output(&mut command)?).context("cargo metadata is no JSON")
}

/// The SHA-256 of each crate's file, by name and version, from Cargo.lock.
fn checksums() -> Result<BTreeMap<(String, String), String>> {
    let text = std::fs::read_to_string(step::root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let table = DeTable::parse(&text).context("Cargo.lock is no TOML")?;
    let packages = table.get_ref().get("package").and_then(|packages| packages.get_ref().as_array());
    let mut checksums = BTreeMap::new();
    for package in
        packages.context("Cargo.lock has no packages")?.iter().filter_map(|package| package.get_ref().as_table())
    {
        let field = |name: &str| Some(package.get(name)?.get_ref()).and_then(DeValue::as_str).map(str::to_owned);
        if let (Some(name), Some(version), Some(checksum)) = (field("name"), field("version"), field("checksum")) {
            checksums.insert((name, version), checksum);
        }
    }
    ensure!(!checksums.is_empty(), "Cargo.lock has no checksums");
    Ok(checksums)
}

fn crate_component(package: &Value, scope: &str, checksums: &BTreeMap<(String, String), String>) -> Value {
    let field = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "scope": scope,
        "purl": purl(package),
        "licenses": licenses(package),
    });
    if let Some(checksum) = checksums.get(&(field("name"), field("version"))) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn purl(package: &Value) -> String {
    let field = |name: &str| package[name].as_str().unwrap_or_default();
    format!("pkg:cargo/{}@{}", field("name"), field("version").replace('+', "%2B"))
}

/// Older crates write "MIT/Apache-2.0" for "MIT OR Apache-2.0".
fn licenses(package: &Value) -> Value {
    match package["license"].as_str() {
        Some(license) => json!([{ "expression": license.replace('/', " OR ") }]),
        None => json!([]),
    }
}

fn kernel_component(kernel: &Kernel) -> Value {
    let (package, version) = kernel.package.split_once(' ').unwrap_or((&kernel.package, ""));
    json!({
        "type": "operating-system",
        "bom-ref": debian_purl(package, version),
        "name": "linux",
        "version": kernel.version,
        "description": "built from Debian's source package with image/kernel/enclave.config",
        "scope": "required",
        "purl": debian_purl(package, version),
        "hashes": [{ "alg": "SHA-256", "content": kernel.source_sha256 }],
        "licenses": [{ "expression": "GPL-2.0-only WITH Linux-syscall-note" }],
    })
}

fn libc_component() -> Value {
    let version = debian::version(LIBC);
    json!({
        "type": "library",
        "bom-ref": debian_purl(LIBC, &version),
        "name": "glibc",
        "version": version,
        "description": "linked into the program",
        "scope": "required",
        "purl": debian_purl(LIBC, &version),
        "licenses": [{ "expression": "LGPL-2.1-or-later" }],
    })
}

fn std_component(binary: &Binary) -> Value {
    let release = binary.toolchain.release();
    let name = format!("rust-std@{release}");
    json!({
        "type": "library",
        "bom-ref": name,
        "name": "rust-std",
        "version": release,
        "description": format!("Rust's standard library, rustc commit {}", binary.toolchain.commit()),
        "scope": "required",
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
    })
}

fn debian_purl(package: &str, version: &str) -> String {
    format!("pkg:deb/debian/{package}@{}", version.replace('+', "%2B").replace('~', "%7E"))
}

/// Who needs whom, among what was built.
fn dependencies(metadata: &Value, names: &BTreeMap<&str, String>) -> Vec<Value> {
    let mut all = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let Some(name) = node["id"].as_str().and_then(|id| names.get(id)) else { continue };
        let needs =
            list(&node["deps"]).filter(|dep| is_built_with(dep)).filter_map(|dep| names.get(dep["pkg"].as_str()?));
        all.insert(name, needs.collect::<BTreeSet<_>>());
    }
    all.iter().map(|(name, needs)| json!({ "ref": name, "dependsOn": needs })).collect()
}

/// Not only for tests.
fn is_built_with(dep: &Value) -> bool {
    list(&dep["dep_kinds"]).any(|kind| kind["kind"] != "dev")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_of_the_lock_file_has_a_checksum() {
        let checksums = checksums().unwrap();
        let of_serde = checksums.iter().find(|((name, _), _)| name == "serde").expect("serde in Cargo.lock");
        assert_eq!(of_serde.1.len(), 64);
    }

    #[test]
    fn an_old_way_to_write_two_licenses_becomes_an_expression() {
        assert_eq!(licenses(&json!({ "license": "MIT/Apache-2.0" })), json!([{ "expression": "MIT OR Apache-2.0" }]));
        assert_eq!(licenses(&json!({ "license": null })), json!([]));
    }

    #[test]
    fn a_version_with_a_plus_is_written_as_an_address_wants_it() {
        let package = json!({ "name": "toml", "version": "1.2.1+spec-1.1.0" });
        assert_eq!(purl(&package), "pkg:cargo/toml@1.2.1%2Bspec-1.1.0");
    }
}
