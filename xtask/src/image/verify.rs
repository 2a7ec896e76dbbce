//! `--verify`: builds anew and says whether it measures the same; if not, what differs first, as closely as what lies beside the
//! other side's measurements allows.
use super::binary::{Binary, Build, Kind};
use super::kernel::{self, Kernel};
use super::{Args, Made, folder, read_eif, tool};
use crate::step;
use ::image::{Eif, Measurements, difference};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;

/// What a register is of, in the order in which a difference is looked for.
const MEANING: [(&str, &str); 4] = [
    ("PCR1", "kernel, command line or the boot ramdisk's program: another source, compiler or Debian package"),
    ("PCR2", "the application's ramdisk: another policy, or other files"),
    ("PCR0", "the whole image"),
    ("PCR8", "the certificate of who signed it"),
];

pub fn run(args: &Args, measurements: &Path) -> Result<()> {
    args.check()?;
    let text =
        std::fs::read_to_string(measurements).with_context(|| format!("cannot read {}", measurements.display()))?;
    let mut theirs = Measurements::from_json(&text).with_context(|| measurements.display().to_string())?;
    let beside = measurements.parent().unwrap_or(Path::new(""));
    // Read before anything is built: the other side may be the folder that is built into.
    let their_eif = Some(beside.join(args.chosen.kind().file()))
        .filter(|path| path.exists())
        .map(|path| read_eif(&path))
        .transpose()?;
    let their_record = std::fs::read_to_string(beside.join("build.json")).ok();

    let ours = build_anew(args)?;
    // Signing wants a key that an auditor does not have; what is measured besides does not change with a signature.
    let signer = theirs.pcr8.take_if(|_| ours.measurements.pcr8.is_none());
    if let Some(what) = first_difference(&ours, &theirs, their_eif.as_ref(), their_record.as_deref())? {
        bail!("{} is not of this source and these options.\n{what}", measurements.display());
    }
    ours.show();
    println!("verified: {} is what this source and these options measure", measurements.display());
    if let Some(pcr8) = signer {
        println!(
            "It is signed: PCR8, {pcr8}, is of the signer's certificate and was not compared; with --sign-cert and --sign-key it would be"
        );
    }
    Ok(())
}

/// Kernel and program from nothing, whatever the caches hold.
fn build_anew(args: &Args) -> Result<Made> {
    let tool = tool::ensure()?;
    let out = args.out.clone().unwrap_or_else(|| folder(args.chosen.kind()).join("verify"));
    from_nothing(args.chosen.kind(), |kernel, binary| {
        let made = Made::write(args, &tool, kernel, binary, &out)?;
        made.describe(kernel, binary)?;
        Ok(made)
    })
}

/// Builds kernel and program in a folder of their own, which goes when they were used.
pub fn from_nothing<T>(kind: Kind, use_them: impl FnOnce(&Kernel, &Binary) -> Result<T>) -> Result<T> {
    let work = step::root().join(".cache/image/verify");
    if work.exists() {
        std::fs::remove_dir_all(&work).with_context(|| format!("cannot empty {}", work.display()))?;
    }
    let kernel = kernel::build_in(&work.join("kernel"))?;
    let binary = Build::of(&step::root(), &work.join("target"), kind)?.run()?;
    let used = use_them(&kernel, &binary)?;
    std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    Ok(used)
}

fn first_difference(
    ours: &Made,
    theirs: &Measurements,
    their_eif: Option<&Eif>,
    their_record: Option<&str>,
) -> Result<Option<String>> {
    let Some(mut what) = registers(&ours.measurements, theirs) else { return Ok(None) };
    match their_eif {
        Some(eif) if (Measurements { pcr8: theirs.pcr8.clone(), ..eif.measurements() }) != *theirs => {
            what.push_str("\nThe image beside these measurements is not the image that they are of.");
        }
        Some(eif) => match difference(&ours.parts, eif.parts()) {
            Some(difference) => what.push_str(&format!("\nThe first difference: {difference}")),
            None => what.push_str("\nThe images have the same parts: only the signature differs."),
        },
        None => {
            what.push_str("\nWith their image (tmkms.eif or ceremony.eif) beside the measurements, the first differing byte could be named.");
        }
    }
    if let Some(record) = their_record {
        let our_record = std::fs::read_to_string(ours.folder.join("build.json"))?;
        let (ours, theirs) = (serde_json::from_str(&our_record)?, serde_json::from_str(record).unwrap_or(Value::Null));
        let differing = facts(&ours, &theirs);
        if !differing.is_empty() {
            what.push_str(&format!("\nThe build records differ in:\n    {}", differing.join("\n    ")));
        }
    }
    Ok(Some(what))
}

fn registers(ours: &Measurements, theirs: &Measurements) -> Option<String> {
    let value =
        |of: &Measurements, name: &str| of.registers().find(|(there, _)| *there == name).map(|(_, v)| v.to_owned());
    let none = || "none".to_owned();
    MEANING.iter().find_map(|(name, meaning)| {
        let (our, their) = (value(ours, name), value(theirs, name));
        let differ = || {
            format!(
                "{name} differs, which is of {meaning}:\n    ours   {}\n    theirs {}",
                our.clone().unwrap_or_else(none),
                their.clone().unwrap_or_else(none)
            )
        };
        (our != their).then(differ)
    })
}

/// What two records say differently about source and tools; what follows from that (digests of products) is left out.
fn facts(ours: &Value, theirs: &Value) -> Vec<String> {
    let mut differing = Vec::new();
    for group in ["source", "kernel", "program", "tools", "image"] {
        let names = ours[group].as_object().into_iter().flatten();
        for (name, our) in names.filter(|(name, _)| *name != "measurements") {
            let their = &theirs[group][name];
            if our != their {
                differing.push(format!("{group}.{name}: ours {our}, theirs {their}"));
            }
        }
    }
    differing
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn measured(pcr0: &str, pcr1: &str, pcr2: &str) -> Measurements {
        let [pcr0, pcr1, pcr2] = [pcr0, pcr1, pcr2].map(str::to_owned);
        Measurements { pcr0, pcr1, pcr2, pcr8: None }
    }

    #[test]
    fn the_register_that_explains_most_is_named() {
        let ours = measured("a", "b", "c");
        assert_eq!(registers(&ours, &ours), None);
        let policy = registers(&ours, &measured("x", "b", "x")).unwrap();
        assert!(policy.starts_with("PCR2 differs") && policy.contains("another policy"), "{policy}");
        assert!(registers(&ours, &measured("x", "x", "c")).unwrap().starts_with("PCR1 differs"));
        let signed = Measurements { pcr8: Some("d".to_owned()), ..ours.clone() };
        assert!(registers(&ours, &signed).unwrap().contains("ours   none\n    theirs d"));
    }

    #[test]
    fn records_are_compared_by_what_was_built_with() {
        let ours = json!({ "kernel": { "gcc": "12", "xz": "5" }, "image": { "measurements": { "PCR0": "a" } } });
        let theirs = json!({ "kernel": { "gcc": "13", "xz": "5" }, "image": { "measurements": { "PCR0": "b" } } });
        assert_eq!(facts(&ours, &theirs), ["kernel.gcc: ours \"12\", theirs \"13\""]);
    }
}
