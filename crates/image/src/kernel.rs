//! Whether a file is a kernel that an enclave can boot.
use crate::error::{Malformed, Result};

/// Checks that these bytes are a bzImage for x86_64: the file that Nitro and QEMU load, and not the ELF file, the module or the
/// package of the same name. The fields are those of the kernel's `Documentation/arch/x86/boot.rst`.
///
/// # Errors
/// What it is instead, as far as that can be seen.
pub fn check_kernel(kernel: &[u8]) -> Result<()> {
    let is_at = |at: usize, expected: &[u8]| kernel.get(at..at + expected.len()) == Some(expected);
    if kernel.starts_with(b"\x7FELF") {
        return wrong("got an ELF file, such as vmlinux: take arch/x86/boot/bzImage of the same build");
    }
    if kernel.starts_with(b"\x1F\x8B") {
        return wrong("got a gzip file: unpack it first");
    }
    if !(is_at(0x1FE, b"\x55\xAA") && is_at(0x202, b"HdrS")) {
        return wrong("the setup header of x86's boot protocol is not there");
    }
    // `xloadflags`, bit 0: there is a 64-bit entry point.
    if kernel.get(0x236).is_none_or(|flags| flags & 1 == 0) {
        return wrong("it is a 32-bit kernel");
    }
    Ok(())
}

fn wrong(what: &str) -> Result<()> {
    Err(Malformed(format!("not a kernel for an enclave: expected a bzImage for x86_64; {what}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of a setup header as is looked at.
    fn setup() -> Vec<u8> {
        let mut kernel = vec![0; 0x240];
        kernel[0x1FE..0x200].copy_from_slice(b"\x55\xAA");
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x236] = 1;
        kernel
    }

    #[test]
    fn a_setup_header_makes_a_kernel_and_its_lack_is_told() {
        assert!(check_kernel(&setup()).is_ok());
        let told = |kernel: &[u8]| check_kernel(kernel).unwrap_err().to_string();
        assert!(told(&setup()[..0x200]).contains("setup header"));
        assert!(told(&setup()[..0x236]).contains("32-bit"));
        assert!(told(b"\x7FELF").contains("vmlinux"));
        assert!(told(b"\x1F\x8B").contains("gzip"));
        assert!(told(b"").contains("expected a bzImage"));
    }
}
