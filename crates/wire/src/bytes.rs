//! Big-endian numbers and byte strings with lengths, taken from the front of hostile bytes and put at the end of ours.

/// What is left of a message that is being read. Every take fails, with what was looked for, where bytes are missing.
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

/// What was missing or wrong, in words that hold no byte of the message.
pub(crate) type Missing = String;

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], Missing> {
        let left = self.rest.len();
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| format!("the message ends within {what}: expected {count} bytes, got {left}"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Missing> {
        let taken = self.take(N, what)?;
        taken.try_into().map_err(|_| format!("{what} is no array of {N} bytes"))
    }

    pub(crate) fn u8(&mut self, what: &str) -> Result<u8, Missing> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, Missing> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64, Missing> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A flag: 0 or 1, and nothing else.
    pub(crate) fn flag(&mut self, what: &str) -> Result<bool, Missing> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{what}: expected 0 or 1, got {other}")),
        }
    }

    /// A length of four bytes, at most `most`, and that many bytes.
    pub(crate) fn string(&mut self, most: usize, what: &str) -> Result<&'a [u8], Missing> {
        let length = usize::try_from(self.u32(what)?).unwrap_or(usize::MAX);
        if length > most {
            return Err(format!("{what} is too long: expected at most {most} bytes, got {length}"));
        }
        self.take(length, what)
    }

    /// The same, as UTF-8.
    pub(crate) fn text(&mut self, most: usize, what: &str) -> Result<&'a str, Missing> {
        std::str::from_utf8(self.string(most, what)?).map_err(|_| format!("{what} is not UTF-8"))
    }

    /// Everything that is left.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The end: nothing may follow.
    pub(crate) fn end(&self) -> Result<(), Missing> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes follow the message's end")),
        }
    }
}

/// Appends a length of four bytes and the bytes. What is longer than that can say is longer than any bound of
/// [`Input::string`], and is refused by whoever reads it.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}
