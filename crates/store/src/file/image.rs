//! The whole file as bytes: which slot wins, and what is wrong when none does. Pure.
use super::error::{BadSlot, Problem};
use super::slot::{self, Held, OPENING, Owner, SLOT_BYTES, SlotBytes};
use crate::formats;

/// The file's exact length in bytes: two slots.
pub const FILE_BYTES: usize = 2 * SLOT_BYTES;
/// How much of a file of another length is looked at, in bytes.
pub(super) const MAX_FOREIGN_BYTES: usize = 64 * 1024;

/// The file's bytes.
pub type ImageBytes = [u8; FILE_BYTES];

/// One slot of an image; `index` is 0 or 1.
#[must_use]
pub fn slot_of(image: &ImageBytes, index: usize) -> &SlotBytes {
    let (slots, _) = image.as_chunks::<SLOT_BYTES>();
    &slots[index]
}

/// An image with that content in both slots.
pub(super) fn doubled(slot: &SlotBytes) -> ImageBytes {
    let mut image = [0; FILE_BYTES];
    let (slots, _) = image.as_chunks_mut::<SLOT_BYTES>();
    slots.fill(*slot);
    image
}

/// Finds the slot that wins: the one with the higher sequence, and at one sequence the higher epoch.
///
/// # Errors
/// The [`Problem`] of the content; the file is to be left as it is.
pub(super) fn judge(image: &ImageBytes, owner: &Owner) -> Result<(usize, Held), Problem> {
    let slots = slots_in(image);
    for (index, held) in slots.iter().enumerate() {
        match held {
            Ok(held) => check_owner(held, owner)?,
            Err(BadSlot::Version(found)) => return Err(Problem::UnknownVersion { slot: index + 1, found: *found }),
            Err(BadSlot::Broken(_)) => {}
        }
    }
    match slots {
        [Ok(first), Ok(second)] => winner(first, second),
        [Ok(survivor), Err(bad)] => Err(one_damaged(2, bad, &survivor)),
        [Err(bad), Ok(survivor)] => Err(one_damaged(1, bad, &survivor)),
        [Err(_), Err(_)] => Err(judge_unread(image)),
    }
}

/// Whose file it is, as far as it is open who that is: if the file names no key yet, or the caller knows none, what stands
/// in the file counts; else what the caller wants. Judging by it then shows what does not fit.
pub(super) fn owner_in(start: &[u8], wanted: &Owner) -> Owner {
    let found = slots_in(start).into_iter().flatten().map(|held| held.owner).next();
    match found {
        Some(found) if found.chain_id == wanted.chain_id && (found.is_unbound() || wanted.is_unbound()) => found,
        _ => wanted.clone(),
    }
}

/// What is wrong with an image of which neither slot can be read.
pub(super) fn judge_unread(image: &ImageBytes) -> Problem {
    let slots = slots_in(image).map(|slot| slot.err().unwrap_or(BadSlot::Broken("it can be read")));
    for (index, bad) in slots.iter().enumerate() {
        if let BadSlot::Version(found) = bad {
            return Problem::UnknownVersion { slot: index + 1, found: *found };
        }
    }
    if looks_like_ours(image) {
        Problem::BothSlotsDamaged { bad: slots }
    } else {
        Problem::Foreign { format: formats::recognise(image) }
    }
}

/// Refuses what another key or chain left.
pub(super) fn check_owner(held: &Held, expected: &Owner) -> Result<(), Problem> {
    let both = || (expected.clone(), held.owner.clone());
    if held.owner.chain_id != expected.chain_id {
        let (expected, found) = both();
        Err(Problem::AnotherChain { expected, found })
    } else if held.owner.pub_key != expected.pub_key {
        let (expected, found) = both();
        Err(Problem::AnotherKey { expected, found })
    } else {
        Ok(())
    }
}

fn one_damaged(slot: usize, bad: BadSlot, survivor: &Held) -> Problem {
    Problem::OneSlotDamaged { slot, bad, survivor: survivor.record.position() }
}

/// Two slots that check out were written one after the other, so the later one is of a higher position and of no
/// earlier opening; or one is a copy of the other.
pub(super) fn agree(first: &Held, second: &Held) -> bool {
    let (a, b) = (&first.record, &second.record);
    match a.sequence().cmp(&b.sequence()) {
        std::cmp::Ordering::Less => a.position() < b.position() && first.epoch <= second.epoch,
        std::cmp::Ordering::Equal => a == b,
        std::cmp::Ordering::Greater => a.position() > b.position() && first.epoch >= second.epoch,
    }
}

fn winner(first: Held, second: Held) -> Result<(usize, Held), Problem> {
    if !agree(&first, &second) {
        return Err(Problem::Contradiction { held: [Box::new(first.record), Box::new(second.record)] });
    }
    Ok(if second.rank() > first.rank() { (1, second) } else { (0, first) })
}

/// Damaged or blank, rather than something else's file of the same length.
fn looks_like_ours(image: &ImageBytes) -> bool {
    let blank = |byte: &u8| matches!(byte, 0 | 0xff | b' ' | b'\n');
    [0, 1].map(|index| slot_of(image, index)).iter().any(|slot| {
        // The opening may itself be damaged; what is left of a record still names its fields.
        slot.starts_with(OPENING.as_bytes()) || slot.windows(10).any(|window| window == br#""chain_id""#)
    }) || image.iter().all(blank)
}

/// What is wrong with a file of another length.
pub(super) fn judge_size(start: &[u8], bytes: u64) -> Problem {
    if bytes == 0 {
        return Problem::Empty;
    }
    let format = formats::recognise(start);
    let ours = start.starts_with(OPENING.as_bytes()) || start.iter().all(|byte| *byte == 0);
    if format.is_none() && ours {
        let survivor = slots_in(start).iter().flatten().map(|held| held.record.position()).max();
        Problem::WrongSize { bytes, survivor }
    } else {
        Problem::Foreign { format }
    }
}

/// Both slots of a file of any length, read. What is missing at a slot's end is taken for blank, so that an
/// object that is whole still checks out.
pub(super) fn slots_in(start: &[u8]) -> [Result<Held, BadSlot>; 2] {
    [0, 1].map(|index| {
        let chunk = start.chunks(SLOT_BYTES).nth(index).unwrap_or_default();
        let mut slot = [b' '; SLOT_BYTES];
        slot[SLOT_BYTES - 1] = b'\n';
        slot[..chunk.len()].copy_from_slice(chunk);
        slot::decode(&slot)
    })
}
