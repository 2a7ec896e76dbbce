//! The image file, read by a reader of our own: bounded, strict, and of nobody's goodwill.
//!
//! AWS's reader goes from section to section and ignores the header's offsets; QEMU's (`hw/core/eif.c`) goes by the
//! offsets. A file on which they could differ is refused here: sections follow each other, and the header says the same.
use crate::crc::crc32;
use crate::error::{Malformed, Result};
use crate::measure::{Measurements, measure};
use crate::{Parts, Signature};

/// The largest file that is read: a Nitro enclave of a few megabytes is the goal, one made from a container is larger.
pub const MAX_EIF_BYTES: usize = 1 << 30;
/// As many sections as the header has room for.
pub const MAX_SECTIONS: usize = 32;

const MAGIC: &[u8] = b".eif";
/// Version 3 has no metadata; nothing else differs.
const VERSIONS: [u64; 2] = [3, 4];
const HEADER_BYTES: usize = 548;
const SECTION_HEADER_BYTES: usize = 12;
/// Bit 0 of the header's flags: an image for aarch64.
const ARM64: u64 = 1;
/// `COMMAND_LINE_SIZE` of x86's kernel is 2048; a little more is read so that the error can say so.
const MAX_CMDLINE_BYTES: usize = 64 << 10;

/// An image as it was read: its parts, what describes it, who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eif {
    parts: Parts,
    metadata: Option<Vec<u8>>,
    signature: Option<Signature>,
}

/// What a section is, by its number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kernel = 1,
    Cmdline,
    Ramdisk,
    Signature,
    Metadata,
}

impl Eif {
    /// Reads a whole file.
    ///
    /// # Errors
    /// The first thing that is wrong. That a signature holds is not checked here: [`Self::check_signature`].
    pub fn read(file: &[u8]) -> Result<Self> {
        let header = Header::read(file)?;
        let mut kernel = None;
        let mut cmdline = None;
        let (mut ramdisks, mut metadata, mut signature) = (Vec::new(), None, None);
        // AWS's reader measures in the file's order, and we in this one.
        let mut is_ordered = true;
        for index in 0..header.sections {
            let (kind, content) = header.section(file, index)?;
            is_ordered &= match kind {
                Kind::Kernel => cmdline.is_none() && ramdisks.is_empty(),
                Kind::Cmdline => ramdisks.is_empty(),
                _ => true,
            };
            let again = match kind {
                Kind::Kernel => kernel.replace(content.to_vec()).is_some(),
                Kind::Cmdline => cmdline.replace(text(content)?).is_some(),
                Kind::Metadata => metadata.replace(content.to_vec()).is_some(),
                Kind::Signature => signature.replace(Signature::read(content)?).is_some(),
                Kind::Ramdisk => {
                    ramdisks.push(content.to_vec());
                    false
                }
            };
            if again {
                return Err(wrong(&format!("section {index} is a second {kind:?}: expected one")));
            }
        }
        let missing = |what: &str| wrong(&format!("it has no {what}"));
        let kernel = kernel.ok_or_else(|| missing("kernel"))?;
        let cmdline = cmdline.ok_or_else(|| missing("command line"))?;
        if ramdisks.is_empty() {
            return Err(missing("ramdisk"));
        }
        if !is_ordered {
            return Err(wrong(
                "its sections have another order than kernel, command line, ramdisks, in which they are measured",
            ));
        }
        Ok(Self { parts: Parts { kernel, cmdline, ramdisks }, metadata, signature })
    }

    /// What it is measured by.
    #[must_use]
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The JSON that describes it, which nothing measures.
    #[must_use]
    pub fn metadata(&self) -> Option<&[u8]> {
        self.metadata.as_deref()
    }

    /// Who signed it, if anybody did.
    #[must_use]
    pub const fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// What Nitro measures before it boots it.
    #[must_use]
    pub fn measurements(&self) -> Measurements {
        Measurements { pcr8: self.signature.as_ref().map(Signature::pcr8), ..measure(&self.parts) }
    }

    /// Checks that the signature, if there is one, is of this image.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_signature(&self) -> Result<()> {
        match &self.signature {
            Some(signature) => signature.verify(&measure(&self.parts).pcr0),
            None => Ok(()),
        }
    }
}

struct Header {
    sections: usize,
    offsets: Vec<u64>,
    sizes: Vec<u64>,
}

impl Header {
    /// The header's fields are big-endian: magic, version, flags, memory, CPUs, reserved, number of sections, 32 offsets,
    /// 32 sizes, unused, checksum.
    fn read(file: &[u8]) -> Result<Self> {
        if file.len() > MAX_EIF_BYTES {
            return Err(wrong(&format!("expected at most {MAX_EIF_BYTES} bytes, got {}", file.len())));
        }
        let short = || wrong(&format!("expected a header of {HEADER_BYTES} bytes, got a file of {}", file.len()));
        let (header, rest) = file.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
        if !header.starts_with(MAGIC) {
            return Err(wrong(&format!("expected it to begin with {:?}", ".eif")));
        }
        let (version, flags) = (number(header, 4, 2), number(header, 6, 2));
        if !VERSIONS.contains(&version) {
            return Err(wrong(&format!("expected version 3 or 4, got {version}")));
        }
        if flags & ARM64 != 0 {
            return Err(wrong("it is for aarch64: expected one for x86_64"));
        }
        let (said, found) = (number(header, HEADER_BYTES - 4, 4), crc32(&[&header[..HEADER_BYTES - 4], rest]));
        if said != u64::from(found) {
            return Err(wrong(&format!("its checksum is {found:08x}, its header says {said:08x}: it is damaged")));
        }
        let sections = usize::try_from(number(header, 26, 2)).unwrap_or(usize::MAX);
        if sections > MAX_SECTIONS {
            return Err(wrong(&format!("expected at most {MAX_SECTIONS} sections, got {sections}")));
        }
        let column = |at: usize| (0..MAX_SECTIONS).map(|index| number(header, at + 8 * index, 8)).collect();
        let header = Self { sections, offsets: column(28), sizes: column(28 + 8 * MAX_SECTIONS) };
        header.check_places(file.len())?;
        Ok(header)
    }

    /// Each section begins where the one before it ends, and the file ends where the last one does.
    fn check_places(&self, file_bytes: usize) -> Result<()> {
        let mut expected = HEADER_BYTES as u64;
        for index in 0..self.sections {
            let (offset, size) = (self.offsets[index], self.sizes[index]);
            if offset != expected {
                return Err(wrong(&format!("section {index}: expected it at byte {expected}, got {offset}")));
            }
            let end = size.checked_add(SECTION_HEADER_BYTES as u64).and_then(|bytes| bytes.checked_add(offset));
            expected = end
                .filter(|end| *end <= file_bytes as u64)
                .ok_or_else(|| wrong(&format!("section {index} of {size} bytes goes beyond the end of the file")))?;
        }
        if expected != file_bytes as u64 {
            return Err(wrong(&format!("expected it to end at byte {expected}, got {file_bytes} bytes")));
        }
        Ok(())
    }

    fn section<'a>(&self, file: &'a [u8], index: usize) -> Result<(Kind, &'a [u8])> {
        let lost = || wrong(&format!("section {index} is not in the file"));
        let offset = usize::try_from(self.offsets[index]).map_err(|_| lost())?;
        let size = usize::try_from(self.sizes[index]).map_err(|_| lost())?;
        let section = file.get(offset..).and_then(|rest| rest.get(..SECTION_HEADER_BYTES + size)).ok_or_else(lost)?;
        let (header, content) = section.split_at(SECTION_HEADER_BYTES);
        let said = number(header, 4, 8);
        if said != self.sizes[index] {
            return Err(wrong(&format!("section {index} says {said} bytes, the header {size}")));
        }
        let kind = match number(header, 0, 2) {
            1 => Kind::Kernel,
            2 => Kind::Cmdline,
            3 => Kind::Ramdisk,
            4 => Kind::Signature,
            5 => Kind::Metadata,
            other => return Err(wrong(&format!("section {index}: expected a kind from 1 to 5, got {other}"))),
        };
        Ok((kind, content))
    }
}

/// A big-endian number of up to eight bytes in a header whose length was checked.
fn number(header: &[u8], at: usize, bytes: usize) -> u64 {
    header.iter().skip(at).take(bytes).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn text(content: &[u8]) -> Result<String> {
    let text =
        std::str::from_utf8(content).ok().filter(|text| content.len() <= MAX_CMDLINE_BYTES && !text.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| wrong("its command line is no text of reasonable length"))
}

fn wrong(what: &str) -> crate::Error {
    Malformed(format!("not an enclave image: {what}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of these sections, made here by hand from the format's description.
    fn file(sections: &[(u16, &[u8])]) -> Vec<u8> {
        let mut header = [b".eif".as_slice(), &4_u16.to_be_bytes(), &[0; 2], &[0; 16], &[0; 2]].concat();
        header.extend(u16::try_from(sections.len()).unwrap().to_be_bytes());
        let (mut offsets, mut sizes, mut rest) = ([0_u64; 32], [0_u64; 32], Vec::new());
        for (index, (kind, content)) in sections.iter().enumerate() {
            offsets[index] = (HEADER_BYTES + rest.len()) as u64;
            sizes[index] = content.len() as u64;
            rest.extend([&kind.to_be_bytes()[..], &[0; 2], &sizes[index].to_be_bytes(), content].concat());
        }
        header.extend(offsets.iter().chain(&sizes).flat_map(|number| number.to_be_bytes()));
        header.extend([0; 8]);
        sealed([header, rest].concat())
    }

    /// With its checksum put right.
    fn sealed(mut file: Vec<u8>) -> Vec<u8> {
        let crc = crc32(&[&file[..HEADER_BYTES - 4], &file[HEADER_BYTES..]]);
        file[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
        file
    }

    const SECTIONS: [(u16, &[u8]); 5] = [(1, b"kernel"), (2, b"console=ttyS0"), (5, b"{}"), (3, b"boot"), (3, b"app")];

    fn refusal(file: &[u8]) -> String {
        Eif::read(file).expect_err("expected a refusal").to_string()
    }

    #[test]
    fn the_parts_come_out_in_order() {
        let eif = Eif::read(&file(&SECTIONS)).unwrap();
        assert_eq!(eif.parts().kernel, b"kernel");
        assert_eq!(eif.parts().cmdline, "console=ttyS0");
        assert_eq!(eif.parts().ramdisks, [b"boot".to_vec(), b"app".to_vec()]);
        assert_eq!(eif.metadata(), Some(b"{}".as_slice()));
        assert_eq!(eif.measurements(), measure(eif.parts()));
    }

    #[test]
    fn each_changed_byte_and_each_cut_is_seen() {
        let whole = file(&SECTIONS);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(Eif::read(&changed).is_err(), "byte {at}");
            assert!(Eif::read(&whole[..at]).is_err(), "cut to {at} bytes");
        }
    }

    #[test]
    fn a_missing_and_a_second_section_are_named() {
        assert!(refusal(&file(&SECTIONS[1..])).contains("no kernel"));
        assert!(refusal(&file(&[SECTIONS[0], SECTIONS[3]])).contains("no command line"));
        assert!(refusal(&file(&SECTIONS[..3])).contains("no ramdisk"));
        assert!(refusal(&file(&[SECTIONS[0], SECTIONS[0]])).contains("second Kernel"));
        assert!(refusal(&file(&[SECTIONS[0], (6, b"")])).contains("got 6"));
    }

    #[test]
    fn sections_in_another_order_than_they_are_measured_in_are_refused_and_what_is_not_measured_may_stand_anywhere() {
        let [kernel, cmdline, metadata, boot, app] = SECTIONS;
        for order in [[cmdline, kernel, boot], [kernel, boot, cmdline], [boot, kernel, cmdline]] {
            assert!(refusal(&file(&order)).contains("another order"), "{order:?}");
        }
        assert!(Eif::read(&file(&[metadata, kernel, cmdline, boot, app])).is_ok());
    }

    #[test]
    fn an_offset_on_which_two_readers_would_differ_is_refused() {
        let mut moved = file(&SECTIONS);
        moved[28 + 7] += 1;
        assert!(refusal(&sealed(moved)).contains("section 0: expected it at byte 548, got 549"));
        let mut longer = file(&SECTIONS);
        longer[28 + 8 * MAX_SECTIONS + 8 * 4 + 7] -= 1;
        assert!(refusal(&sealed(longer)).contains("expected it to end"));
        let trailing = [file(&SECTIONS), vec![0]].concat();
        assert!(refusal(&sealed(trailing)).contains("expected it to end"));
    }

    #[test]
    fn a_size_that_overflows_is_refused() {
        let mut file = file(&SECTIONS);
        file[28 + 8 * MAX_SECTIONS..][..8].fill(0xFF);
        assert!(refusal(&sealed(file)).contains("beyond the end"));
    }

    proptest! {
        #[test]
        fn a_file_with_changed_headers_is_read_or_refused(at in 4..HEADER_BYTES - 4, byte: u8, kind in 0_usize..4) {
            let mut file = file(&SECTIONS);
            file[at] = byte;
            file[HEADER_BYTES + kind] = byte;
            let _ = Eif::read(&sealed(file));
        }
    }
}
