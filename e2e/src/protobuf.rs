//! Protobuf fields, read by hand: the harness must not rest on the decoder under test.
use anyhow::{Context, Result, bail};

/// A field's value.
pub(crate) enum Value<'a> {
    /// A varint.
    Number(u64),
    /// An sfixed64.
    Fixed(i64),
    /// Bytes, text or a message.
    Bytes(&'a [u8]),
}

/// The next field's number and value; `rest` is moved behind it.
pub(crate) fn next_field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Value<'a>)> {
    let tag = number(rest)?;
    let value = match tag & 7 {
        0 => Value::Number(number(rest)?),
        1 => {
            let (fixed, after) = rest.split_first_chunk::<8>().context("a fixed64 is cut short")?;
            *rest = after;
            Value::Fixed(i64::from_le_bytes(*fixed))
        }
        2 => {
            let length = usize::try_from(number(rest)?)?;
            let (bytes, after) = rest.split_at_checked(length).context("a field is cut short")?;
            *rest = after;
            Value::Bytes(bytes)
        }
        other => bail!("wire type {other}"),
    };
    Ok((tag >> 3, value))
}

/// A varint.
pub(crate) fn number(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().context("a number is cut short")?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number does not end")
}

/// The first field of that number that holds bytes.
pub(crate) fn find_bytes(mut message: &[u8], wanted: u64) -> Result<Option<&[u8]>> {
    while !message.is_empty() {
        if let (field, Value::Bytes(bytes)) = next_field(&mut message)?
            && field == wanted
        {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
