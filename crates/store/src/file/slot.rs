//! One slot of the state file: a record as one line of JSON, read as strictly as it is written.
//!
//! ```json
//! {"v":1,"chain_id":"…","pub_key":"…","seq":7,"epoch":2,"height":12,"round":0,"step":"precommit","bytes":"…","check":"…"}
//! ```
//! * `v`: the version of this format, 1.
//! * `pub_key`: the raw public key in base64; for a key longer than 33 bytes the SHA-256 of it; empty as long as the file
//!   is bound to no key (see [`super::BindingStore`]). Such a record never has `bytes`.
//! * `seq`: how many commits came before; `epoch`: how many openings came before, this one included.
//! * `bytes`: the canonical sign bytes that were allowed, base64 without padding; absent when they are unknown.
//! * `check`: the first 6 bytes of the SHA-256 of everything in front of `"check"`, base64.
//!
//! There is exactly one way to write a record (this order of keys, no blanks, no leading zeros), and a slot that
//! differs from it by one byte is not read. The object ends within the first 512 bytes of the slot, which is
//! one sector: disks write a sector whole or not at all, so a power cut cannot tear it.
use super::error::BadSlot;
use base64ct::{Base64, Base64Unpadded, Encoding};
use guard::{ChainId, Height, Identity, Position, Record, Round, Statement, Step};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};

/// A slot's length in bytes: a page, and the unit of every write.
pub const SLOT_BYTES: usize = 4096;
/// The longest object in bytes: one sector.
pub const OBJECT_BYTES: usize = 512;
/// The largest sequence: 15 decimal digits.
pub const MAX_SEQUENCE: u64 = 999_999_999_999_999;
/// The largest epoch: 9 decimal digits.
pub const MAX_EPOCH: u64 = 999_999_999;
/// The longest public key that is written out, in bytes; of a longer one the SHA-256 is written.
const MAX_PLAIN_KEY_BYTES: usize = 33;
/// Everything from `"check"` to the closing brace.
const CHECK_FIELD_BYTES: usize = r#""check":"12345678"}"#.len();
/// How every version's object begins.
pub(super) const OPENING: &str = r#"{"v":"#;

/// A slot's bytes.
pub type SlotBytes = [u8; SLOT_BYTES];

/// Whose file it is, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The chain.
    pub chain_id: ChainId,
    /// The public key, or the SHA-256 of a long one, in base64. Empty: no key yet.
    pub pub_key: String,
}

impl Owner {
    /// Whoever commits first on that chain: for a key that is not known before its enclave runs.
    #[must_use]
    pub const fn unbound(chain_id: ChainId) -> Self {
        Self { chain_id, pub_key: String::new() }
    }

    /// Whether no key is named yet.
    #[must_use]
    pub const fn is_unbound(&self) -> bool {
        self.pub_key.is_empty()
    }

    /// How that identity stands in the file.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let key = &*identity.public_key;
        let pub_key = if key.len() > MAX_PLAIN_KEY_BYTES {
            Base64::encode_string(&Sha256::digest(key))
        } else {
            Base64::encode_string(key)
        };
        Self { chain_id: identity.chain_id.clone(), pub_key }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unbound() {
            return write!(f, "no key yet on {}", self.chain_id);
        }
        write!(f, "key {} on {}", self.pub_key, self.chain_id)
    }
}

/// What a slot that checks out holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose record it is.
    pub owner: Owner,
    /// The opening that wrote it.
    pub epoch: u64,
    /// The record.
    pub record: Record,
}

impl Held {
    /// What decides between two slots: the later record, and of the same record the later opening's copy.
    #[must_use]
    pub const fn rank(&self) -> (u64, u64) {
        (self.record.sequence(), self.epoch)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (sequence {}, epoch {})", self.record.position(), self.record.sequence(), self.epoch)
    }
}

/// A record that this format has no room for. Nothing is ever cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// What does not fit.
    pub what: &'static str,
}

/// Writes a record as a slot.
///
/// # Errors
/// [`Unfit`] when a number has too many digits, the object would pass 512 bytes, the record is another chain's, or it has
/// bytes without a key that they are of.
pub fn encode(owner: &Owner, epoch: u64, record: &Record) -> Result<SlotBytes, Unfit> {
    if record.sequence() > MAX_SEQUENCE {
        return Err(Unfit { what: "the sequence has more than 15 digits" });
    }
    if epoch > MAX_EPOCH {
        return Err(Unfit { what: "the epoch has more than 9 digits" });
    }
    if record.statement().is_some_and(|statement| statement.chain_id() != owner.chain_id.as_str()) {
        return Err(Unfit { what: "the sign bytes are of another chain" });
    }
    if record.statement().is_some() && owner.is_unbound() {
        return Err(Unfit { what: "a state without a key has no sign bytes" });
    }
    let object = object(owner, epoch, record);
    if object.len() > OBJECT_BYTES {
        return Err(Unfit { what: "the record is longer than 512 bytes" });
    }
    let mut slot = [b' '; SLOT_BYTES];
    slot[..object.len()].copy_from_slice(object.as_bytes());
    slot[SLOT_BYTES - 1] = b'\n';
    Ok(slot)
}

/// The object as text, of any length.
fn object(owner: &Owner, epoch: u64, record: &Record) -> String {
    let Position { height, round, step } = record.position();
    let mut text = String::with_capacity(OBJECT_BYTES);
    // Writing to a `String` cannot fail; the canonical check in `decode` and the tests would show it if it did.
    let _ = write!(
        text,
        r#"{OPENING}1,"chain_id":"{}","pub_key":"{}","seq":{},"epoch":{epoch},"height":{height},"round":{round},"step":"{step}","#,
        owner.chain_id,
        owner.pub_key,
        record.sequence(),
    );
    if let Some(statement) = record.statement() {
        let _ = write!(text, r#""bytes":"{}","#, Base64Unpadded::encode_string(statement.bytes()));
    }
    let check = check(&text);
    let _ = write!(text, r#""check":"{check}"}}"#);
    text
}

/// 48 bits against accidents of the medium. It is no protection from a person: who can write the file can
/// write a matching check.
fn check(text: &str) -> String {
    Base64::encode_string(&Sha256::digest(text.as_bytes())[..6])
}

/// Reads a slot.
///
/// # Errors
/// [`BadSlot`] for anything that [`encode`] does not write.
pub fn decode(slot: &SlotBytes) -> Result<Held, BadSlot> {
    let text = object_of(slot)?;
    let after_opening = text.strip_prefix(OPENING).ok_or(BadSlot::Broken("it does not begin like a record"))?;
    let (version, _) = after_opening.split_once(',').ok_or(BadSlot::Broken("it ends early"))?;
    match version.parse() {
        Ok(1) => {}
        Ok(found) => return Err(BadSlot::Version(found)),
        Err(_) => return Err(BadSlot::Broken("its version is not a number")),
    }
    check_checks(text)?;
    let held = fields(after_opening)?;
    match encode(&held.owner, held.epoch, &held.record) {
        Ok(canonical) if canonical == *slot => Ok(held),
        _ => Err(BadSlot::Broken("it is not written the way this program writes")),
    }
}

/// The object without its padding.
fn object_of(slot: &SlotBytes) -> Result<&str, BadSlot> {
    let length = slot.iter().rposition(|byte| !matches!(byte, b' ' | b'\n' | 0)).map_or(0, |last| last + 1);
    if length == 0 {
        return Err(BadSlot::Broken("it is blank"));
    }
    if length > OBJECT_BYTES {
        return Err(BadSlot::Broken("there is something behind the first 512 bytes"));
    }
    std::str::from_utf8(&slot[..length]).map_err(|_| BadSlot::Broken("it is not text"))
}

fn check_checks(text: &str) -> Result<(), BadSlot> {
    let (checked, field) = text
        .len()
        .checked_sub(CHECK_FIELD_BYTES)
        .and_then(|at| text.split_at_checked(at))
        .ok_or(BadSlot::Broken("it ends early"))?;
    let found = field.strip_prefix(r#""check":""#).and_then(|rest| rest.strip_suffix(r#""}"#));
    match found {
        Some(found) if found == check(checked) => Ok(()),
        Some(_) => Err(BadSlot::Broken("its check does not match its content")),
        None => Err(BadSlot::Broken("it does not end with its check")),
    }
}

/// Reads the fields loosely; that they were written canonically is checked by writing them again.
fn fields(after_opening: &str) -> Result<Held, BadSlot> {
    let mut input = Fields { rest: after_opening };
    let chain_id = input.value(r#"1,"chain_id":""#, "\",")?;
    let chain_id = ChainId::try_from(chain_id).map_err(|_| BadSlot::Broken("its chain_id is not one"))?;
    let pub_key = input.value(r#""pub_key":""#, "\",")?.to_owned();
    if !Base64::decode_vec(&pub_key).is_ok_and(|key| key.len() <= MAX_PLAIN_KEY_BYTES) {
        return Err(BadSlot::Broken("its pub_key is not the base64 of a key"));
    }
    let sequence = number(input.value(r#""seq":"#, ",")?)?;
    let epoch = number(input.value(r#""epoch":"#, ",")?)?;
    let position = input.position()?;
    let record = match input.statement()? {
        None => Record::floor(sequence, position),
        Some(statement) => Record::of(sequence, statement),
    };
    if record.position() != position {
        return Err(BadSlot::Broken("its bytes are for another position than it says"));
    }
    Ok(Held { owner: Owner { chain_id, pub_key }, epoch, record })
}

/// Takes the fields from the front of the object, one after the other.
struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Fields<'a> {
    fn value(&mut self, before: &str, after: &str) -> Result<&'a str, BadSlot> {
        let (value, rest) = self
            .rest
            .strip_prefix(before)
            .and_then(|rest| rest.split_once(after))
            .ok_or(BadSlot::Broken("a field is missing or misplaced"))?;
        self.rest = rest;
        Ok(value)
    }

    fn position(&mut self) -> Result<Position, BadSlot> {
        let height = Height::try_from(number::<i64>(self.value(r#""height":"#, ",")?)?);
        let round = Round::try_from(number::<i64>(self.value(r#""round":"#, ",")?)?);
        let step = Step::from_name(self.value(r#""step":""#, "\",")?);
        match (height, round, step) {
            (Ok(height), Ok(round), Some(step)) => Ok(Position { height, round, step }),
            _ => Err(BadSlot::Broken("its height, round or step is out of range")),
        }
    }

    fn statement(&mut self) -> Result<Option<Statement>, BadSlot> {
        let name = r#""bytes":""#;
        if !self.rest.starts_with(name) {
            return Ok(None);
        }
        let bytes = Base64Unpadded::decode_vec(self.value(name, "\",")?)
            .map_err(|_| BadSlot::Broken("its bytes are not base64"))?;
        Statement::parse(&bytes).map(Some).map_err(|_| BadSlot::Broken("its bytes are not canonical sign bytes"))
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, BadSlot> {
    text.parse().map_err(|_| BadSlot::Broken("a number is not one, or too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(out: &mut Vec<u8>, mut value: u64) {
        while value > 0x7f {
            out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        out.push(u8::try_from(value).unwrap());
    }

    fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
        out.push(number << 3 | 2);
        varint(out, bytes.len() as u64);
        out.extend(bytes);
    }

    /// The longest sign bytes of all: every field of a vote (type 1 or 2) or proposal (type 32) at its largest.
    fn longest(kind: u8, chain_id: &str) -> Vec<u8> {
        let mut body = vec![0x08, kind, 0x11];
        body.extend(i64::MAX.to_le_bytes());
        body.push(0x19);
        body.extend(i64::from(i32::MAX).to_le_bytes());
        let shift = u8::from(kind == 32);
        if kind == 32 {
            body.push(0x20);
            varint(&mut body, u64::MAX);
        }
        let mut parts = vec![0x08];
        varint(&mut parts, u64::from(u32::MAX));
        field(&mut parts, 2, &[0xff; 32]);
        let mut block_id = vec![];
        field(&mut block_id, 1, &[0xff; 32]);
        field(&mut block_id, 2, &parts);
        field(&mut body, 4 + shift, &block_id);
        let mut time = vec![0x08];
        varint(&mut time, (-62_135_596_800_i64).cast_unsigned());
        time.push(0x10);
        varint(&mut time, 999_999_999);
        field(&mut body, 5 + shift, &time);
        field(&mut body, 6 + shift, chain_id.as_bytes());
        let mut out = vec![];
        varint(&mut out, body.len() as u64);
        out.extend(body);
        out
    }

    fn owner(chain_id: &str, key: &[u8]) -> Owner {
        Owner::of(&Identity { chain_id: ChainId::try_from(chain_id).unwrap(), public_key: key.into() })
    }

    fn filled(text: &str) -> SlotBytes {
        let mut slot = [b' '; SLOT_BYTES];
        slot[..text.len()].copy_from_slice(text.as_bytes());
        slot[SLOT_BYTES - 1] = b'\n';
        slot
    }

    /// The text of an object whose check is right, whatever its content.
    fn sealed(body: &str) -> SlotBytes {
        filled(&format!(r#"{body}"check":"{}"}}"#, check(body)))
    }

    #[test]
    fn the_longest_possible_record_of_every_step_fits_one_sector_and_reads_back() {
        let chain_id = "c".repeat(guard::MAX_CHAIN_ID_BYTES);
        for (kind, bytes) in [(32, 182), (1, 171), (2, 171)] {
            let sign_bytes = longest(kind, &chain_id);
            assert_eq!(sign_bytes.len(), bytes);
            let record = Record::of(MAX_SEQUENCE, Statement::parse(&sign_bytes).unwrap());
            assert_eq!(record.position().height, Height::MAX);
            assert_eq!(record.position().round, Round::MAX);
            for key in [&[0xff; 33][..], &[0xff; 1952][..]] {
                let owner = owner(&chain_id, key);
                assert_eq!(owner.pub_key.len(), 44);
                let text = object(&owner, MAX_EPOCH, &record);
                assert!(text.len() <= OBJECT_BYTES, "expected at most {OBJECT_BYTES} bytes, got {}", text.len());
                let slot = encode(&owner, MAX_EPOCH, &record).unwrap();
                assert_eq!(decode(&slot).unwrap(), Held { owner, epoch: MAX_EPOCH, record: record.clone() });
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_never_cut_short() {
        let owner = owner("chain", &[1; 32]);
        let floor = |sequence| Record::floor(sequence, Position::end_of(Height::MAX));
        assert!(encode(&owner, 1, &floor(MAX_SEQUENCE + 1)).is_err());
        assert!(encode(&owner, MAX_EPOCH + 1, &floor(1)).is_err());
        let too_long = Owner { pub_key: "A".repeat(400), ..owner.clone() };
        assert_eq!(encode(&too_long, 1, &floor(1)).unwrap_err().what, "the record is longer than 512 bytes");
        let foreign = Record::of(1, Statement::parse(&longest(2, "another")).unwrap());
        assert!(encode(&owner, 1, &foreign).is_err());
    }

    #[test]
    fn a_state_without_a_key_holds_a_floor_and_never_sign_bytes() {
        let chain_id = "c".repeat(guard::MAX_CHAIN_ID_BYTES);
        let nobody = Owner::unbound(ChainId::try_from(&*chain_id).unwrap());
        let floor = Record::floor(3, Position::end_of(Height::MAX));
        let held = decode(&encode(&nobody, 2, &floor).unwrap()).unwrap();
        assert!(held.owner.is_unbound());
        assert_eq!(held, Held { owner: nobody.clone(), epoch: 2, record: floor });
        let signed = Record::of(3, Statement::parse(&longest(2, &chain_id)).unwrap());
        assert_eq!(encode(&nobody, 2, &signed).unwrap_err().what, "a state without a key has no sign bytes");
        let bytes = Base64Unpadded::encode_string(&longest(2, "c"));
        let height = i64::MAX;
        let by_hand = sealed(&format!(
            r#"{{"v":1,"chain_id":"c","pub_key":"","seq":1,"epoch":1,"height":{height},"round":2147483647,"step":"precommit","bytes":"{bytes}","#
        ));
        assert!(matches!(decode(&by_hand), Err(BadSlot::Broken(_))));
    }

    #[test]
    fn a_record_stands_in_the_file_as_documented() {
        let slot = encode(&owner("chain-1", &[0; 32]), 3, &Record::never_signed()).unwrap();
        let text = std::str::from_utf8(&slot).unwrap();
        let body = concat!(
            r#"{"v":1,"chain_id":"chain-1","pub_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","#,
            r#""seq":0,"epoch":3,"height":0,"round":2147483647,"step":"precommit","#
        );
        assert!(text.starts_with(body), "{text}");
        assert!(text[body.len()..].starts_with(r#""check":""#));
        assert!(text.ends_with(" \n"));
        let _: serde_json::Value = serde_json::from_str(text).unwrap();
    }

    #[test]
    fn every_flip_of_every_bit_is_noticed() {
        let record = Record::of(7, Statement::parse(&longest(2, "chain")).unwrap());
        let slot = encode(&owner("chain", &[9; 32]), 1, &record).unwrap();
        for bit in 0..SLOT_BYTES * 8 {
            let mut flipped = slot;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn only_the_one_way_of_writing_is_read() {
        let head = r#"{"v":1,"chain_id":"c","pub_key":"AAAA","seq":1,"epoch":1,"height":5,"round":0,"step":"prevote","#;
        assert!(decode(&sealed(head)).is_ok());
        for (from, to) in [
            (r#""seq":1"#, r#""seq":01"#),
            (r#""seq":1"#, r#""seq":+1"#),
            (r#""seq":1"#, r#""seq":-1"#),
            (r#""seq":1"#, r#""seq": 1"#),
            (r#""seq":1,"#, r#""seq":1,"seq":1,"#),
            (r#""seq":1,"epoch":1"#, r#""epoch":1,"seq":1"#),
            (r#""seq":1,"#, ""),
            (r#""seq":1"#, r#""seq":1000000000000000"#),
            (r#""epoch":1"#, r#""epoch":1000000000"#),
            (r#""height":5"#, r#""height":9223372036854775808"#),
            (r#""height":5"#, r#""height":-5"#),
            (r#""round":0"#, r#""round":2147483648"#),
            ("prevote", "Prevote"),
            ("prevote", "none"),
            (r#""c""#, r#""""#),
            (r#""c""#, r#""ć""#),
            ("AAAA", "AAAB="),
            ("AAAA", "AAB="),
            (r#""step""#, r#""extra":1,"step""#),
            (r#"{"v":1,"#, r#"{"v":1,"v":1,"#),
            (r#""prevote","#, r#""prevote","bytes":"","#),
            (r#""prevote","#, r#""prevote","bytes":"AAAA","#),
        ] {
            assert!(head.contains(from));
            let slot = sealed(&head.replacen(from, to, 1));
            assert!(matches!(decode(&slot), Err(BadSlot::Broken(_))), "{from} -> {to}");
        }
    }

    #[test]
    fn bytes_for_another_position_or_chain_than_the_fields_are_not_read() {
        let bytes = Base64Unpadded::encode_string(&longest(2, "c"));
        let with = |chain: &str, height: &str, step: &str| {
            sealed(&format!(
                r#"{{"v":1,"chain_id":"{chain}","pub_key":"AAAA","seq":1,"epoch":1,"height":{height},"round":2147483647,"step":"{step}","bytes":"{bytes}","#
            ))
        };
        let height = i64::MAX.to_string();
        assert!(decode(&with("c", &height, "precommit")).is_ok());
        assert!(decode(&with("c", "5", "precommit")).is_err());
        assert!(decode(&with("c", &height, "prevote")).is_err());
        assert!(decode(&with("d", &height, "precommit")).is_err());
    }

    #[test]
    fn another_version_is_told_from_damage() {
        assert_eq!(decode(&filled(r#"{"v":2,"anything":true}"#)), Err(BadSlot::Version(2)));
        assert!(matches!(decode(&filled(r#"{"v":x,"anything":true}"#)), Err(BadSlot::Broken(_))));
        assert!(matches!(decode(&[0; SLOT_BYTES]), Err(BadSlot::Broken("it is blank"))));
    }

    #[test]
    fn a_slot_cut_at_any_byte_is_not_read() {
        let slot = encode(&owner("chain", &[9; 32]), 1, &Record::never_signed()).unwrap();
        let length = object_of(&slot).unwrap().len();
        for keep in 0..length {
            for filler in [0, b' ', b'x'] {
                let mut cut = [filler; SLOT_BYTES];
                cut[..keep].copy_from_slice(&slot[..keep]);
                assert!(decode(&cut).is_err(), "{keep} bytes, then {filler}");
            }
        }
    }
}
