//! Options of the image's first program: words `tmkms.NAME=VALUE` on the kernel's command line, which is measured (PCR0
//! and PCR1). The kernel itself takes a word with a dot for a module's parameter, and passes it over.
use wire::endpoint::Parent;

const PREFIX: &str = "tmkms.";
const KNOWN: &str = "tmkms.port, tmkms.verbose, tmkms.parent_cid";

/// What the image's command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitOptions {
    /// `tmkms.port`: the control port, as `-p` of `tmkms nitro start`.
    pub port: u32,
    /// `tmkms.verbose=1`: each signature is logged, as `-v`.
    pub verbose: bool,
    /// `tmkms.parent_cid`: the parent's CID; 3 on Nitro, 2 in QEMU's emulation.
    pub parent: Parent,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { port: wire::DEFAULT_CONTROL_PORT, verbose: false, parent: Parent::default() }
    }
}

impl InitOptions {
    /// Says what an image with this command line would end with at each start: for who builds it.
    ///
    /// # Errors
    /// The first word of ours that is wrong, and what was expected.
    pub fn check(cmdline: &str) -> Result<(), String> {
        Self::parse(cmdline).map(drop)
    }

    /// Reads `/proc/cmdline`. The last word of a name holds, as for the kernel's own. What is not ours is passed over; a name
    /// that begins as ours do and is not known is an error, for it was meant to change something.
    pub(super) fn parse(cmdline: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for word in cmdline.split_ascii_whitespace().filter(|word| word.starts_with(PREFIX)) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "tmkms.port" => options.port = port(value)?,
                "tmkms.verbose" => options.verbose = switch(value)?,
                "tmkms.parent_cid" => options.parent = parent(value)?,
                _ => return Err(wrong(name, &format!("one of {KNOWN}"), name)),
            }
        }
        Ok(options)
    }
}

fn wrong(name: &str, expected: &str, got: &str) -> String {
    format!(
        "the image's kernel command line, {name}: expected {expected}, got {got:?}; build the image with another one"
    )
}

fn port(value: &str) -> Result<u32, String> {
    let port = digits(value).filter(|port| (1..u32::MAX).contains(port));
    port.ok_or_else(|| wrong("tmkms.port", "a vsock port from 1 to 4294967294", value))
}

fn parent(value: &str) -> Result<Parent, String> {
    let expected = || wrong("tmkms.parent_cid", "the parent's CID: 3, or 2 in QEMU's emulation", value);
    let parent = digits(value).and_then(|cid| cid.to_string().parse().ok());
    parent.ok_or_else(expected)
}

fn digits(value: &str) -> Option<u32> {
    value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()))
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        other => Err(wrong("tmkms.verbose", "0 or 1", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str = "reboot=k panic=30 pci=off nomodules console=ttyS0 i8042.noaux random.trust_cpu=on";

    #[test]
    fn without_words_of_ours_everything_is_as_the_commands_defaults() {
        assert_eq!(InitOptions::parse(AWS), Ok(InitOptions::default()));
        assert_eq!(
            InitOptions::parse(""),
            Ok(InitOptions { port: 5050, verbose: false, parent: Parent::Vsock { cid: 3 } })
        );
    }

    #[test]
    fn every_option_is_read_and_the_last_word_of_a_name_holds() {
        let text = format!("{AWS} tmkms.port=6000 tmkms.verbose=1 tmkms.parent_cid=3 tmkms.parent_cid=2\n");
        let options = InitOptions { port: 6000, verbose: true, parent: Parent::Vsock { cid: 2 } };
        assert_eq!(InitOptions::parse(&text), Ok(options));
    }

    #[test]
    fn what_begins_as_an_option_and_is_none_is_an_error_with_both_values() {
        for (word, says) in [
            ("tmkms.prot=6000", "tmkms.port, tmkms.verbose"),
            ("tmkms.", "tmkms.port, tmkms.verbose"),
            ("tmkms.port", "\"\""),
            ("tmkms.port=0", "\"0\""),
            ("tmkms.port=4294967295", "4294967294"),
            ("tmkms.port=+5", "\"+5\""),
            ("tmkms.verbose=yes", "0 or 1"),
            ("tmkms.parent_cid=1", "3, or 2"),
            ("tmkms.parent_cid=unix:/x", "unix:/x"),
        ] {
            let error = InitOptions::parse(&format!("{AWS} {word}")).unwrap_err();
            assert!(error.contains(says), "{word}: {error}");
        }
        // Not ours: another program's prefix.
        assert!(InitOptions::parse("xtmkms.port=1 tmkmsport=2").is_ok());
    }
}
