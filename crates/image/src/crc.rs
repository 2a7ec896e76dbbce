//! CRC-32 as in an image's header (IEEE 802.3, reflected): it finds a damaged file and protects from nobody.

/// The checksum of all pieces, one after the other.
pub(crate) fn crc32(pieces: &[&[u8]]) -> u32 {
    !pieces.iter().flat_map(|piece| *piece).fold(!0, |crc, byte| {
        let [lowest, ..] = crc.to_le_bytes();
        (crc >> 8) ^ TABLE[usize::from(lowest ^ byte)]
    })
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut remainder = 0_u32;
    while remainder < 256 {
        let (mut value, mut bit) = (remainder, 0);
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[remainder as usize] = value;
        remainder += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard_comes_out() {
        assert_eq!(crc32(&[b"12345", b"6789"]), 0xCBF4_3926);
        assert_eq!(crc32(&[]), 0);
    }
}
