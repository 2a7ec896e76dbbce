//! May this be signed? The double-sign rule, and the only way to a [`Permit`].
//!
//! A validator that signs two different votes for one position loses its stake. This crate holds the one
//! operation that decides, [`Guard::authorize`], and everything that it needs to decide alone:
//!
//! * a [`Statement`] is parsed from the very bytes that would be signed, so the position that is judged
//!   cannot differ from the position that is signed;
//! * a [`Record`] is what was last allowed, and lives in a [`Store`] that says [`Committed`] only when a
//!   power cut can no longer take it back;
//! * a [`Permit`] owns the bytes that may be signed. It has no public constructor, is neither `Clone` nor
//!   serializable, and exists only after its record was committed. Keys sign permits and nothing else.
//!
//! The crate is pure: no clock, no file, no socket, no dependency.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod authorize;
mod canonical;
mod identity;
mod permit;
mod position;
mod record;
mod refusal;
mod store;

pub use authorize::{Guard, Verdict, judge};
pub use canonical::{BlockId, Content, Extension, NotCanonical, Statement, Timestamp};
pub use identity::{ChainId, ChainIdError, Identity, MAX_CHAIN_ID_BYTES};
pub use permit::Permit;
pub use position::{Height, OutOfRange, Position, Round, Step};
pub use record::Record;
pub use refusal::{Denied, Refusal};
pub use store::{Committed, Store, StoreError, Trouble};
