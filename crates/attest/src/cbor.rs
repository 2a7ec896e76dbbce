//! The few CBOR items that a document consists of, each with the name of its field in its errors.
//!
//! Nothing here recurses or allocates: the depth is the caller's, and lengths are compared with what is there. Items of
//! indefinite length are refused, as the module never writes them.
use crate::Malformed;
use minicbor::data::Type;
use minicbor::decode::Decoder;

pub struct Reader<'a> {
    decoder: Decoder<'a>,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { decoder: Decoder::new(bytes), bytes }
    }

    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        self.expect(field, "a byte string", |kind| kind == Type::Bytes)?;
        self.decoder.bytes().map_err(|_| self.broken(field))
    }

    /// A byte string, or null.
    pub fn bytes_or_null(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        if self.kind(field)? == Type::Null {
            return self.decoder.null().map(|()| None).map_err(|_| self.broken(field));
        }
        self.bytes(field).map(Some)
    }

    pub fn text(&mut self, field: &'static str) -> Result<&'a str, Malformed> {
        self.expect(field, "a text string", |kind| kind == Type::String)?;
        self.decoder.str().map_err(|_| self.broken(field))
    }

    pub fn unsigned(&mut self, field: &'static str) -> Result<u64, Malformed> {
        let unsigned = |kind| matches!(kind, Type::U8 | Type::U16 | Type::U32 | Type::U64);
        self.expect(field, "an unsigned integer", unsigned)?;
        self.decoder.u64().map_err(|_| self.broken(field))
    }

    pub fn integer(&mut self, field: &'static str) -> Result<i64, Malformed> {
        let integer = |kind| {
            use Type::{I8, I16, I32, I64, U8, U16, U32, U64};
            matches!(kind, U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64)
        };
        self.expect(field, "an integer", integer)?;
        self.decoder.i64().map_err(|_| self.broken(field))
    }

    /// The number of entries of an array of definite length.
    pub fn array(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.expect(field, "an array of definite length", |kind| kind == Type::Array)?;
        self.decoder.array().ok().flatten().ok_or_else(|| self.broken(field))
    }

    /// The number of pairs of a map of definite length.
    pub fn map(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.expect(field, "a map of definite length", |kind| kind == Type::Map)?;
        self.decoder.map().ok().flatten().ok_or_else(|| self.broken(field))
    }

    /// The tag that comes next, if one does.
    pub fn tag(&mut self, field: &'static str) -> Result<Option<u64>, Malformed> {
        if self.kind(field)? != Type::Tag {
            return Ok(None);
        }
        self.decoder.tag().map(|tag| Some(tag.as_u64())).map_err(|_| self.broken(field))
    }

    /// Nothing may follow.
    pub fn end(&self, field: &'static str) -> Result<(), Malformed> {
        match self.bytes.len().saturating_sub(self.decoder.position()) {
            0 => Ok(()),
            got_bytes => Err(Malformed::Trailing { field, got_bytes }),
        }
    }

    fn expect(
        &self,
        field: &'static str,
        expected: &'static str,
        fits: impl Fn(Type) -> bool,
    ) -> Result<(), Malformed> {
        let got = self.kind(field)?;
        if fits(got) { Ok(()) } else { Err(Malformed::Type { field, expected, got: got.to_string() }) }
    }

    fn kind(&self, field: &'static str) -> Result<Type, Malformed> {
        self.decoder.datatype().map_err(|_| self.broken(field))
    }

    fn broken(&self, field: &'static str) -> Malformed {
        Malformed::Cbor { field, offset: self.decoder.position() }
    }
}
