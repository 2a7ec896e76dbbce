//! Keys: what signs votes, what identifies us to a node, and the files that they come from.
//!
//! A [`ConsensusKey`] signs [`guard::Permit`]s and nothing else; an [`IdentityKey`] signs the 32-byte challenge of a
//! SecretConnection and nothing else. They are different types, and [`check_roles`] refuses one public key in both
//! roles, because a key that signs challenges for strangers must never be one whose signature counts in a chain.
//!
//! Secrets have no `Debug`, no `Clone` and no serialization, live behind one pointer so that moving them copies no
//! secret byte, and are zeroized when dropped. Files are read into buffers that never grow, and the stack is cleared
//! after a key was made. `tests/keys_in_memory.rs` searches a process's memory: while a key lives there is one copy of
//! its secret, and none afterwards. Registers, and what a kernel keeps of a file that was read, are out of reach.
mod buffer;
mod consensus;
mod decode;
mod error;
mod file;
mod identity;
mod json;
mod pair;
mod public;

pub use consensus::{ConsensusKey, ForeignPermit, Signed};
pub use decode::KeyFormat;
pub use error::{KeyFileError, Problem, Shape};
pub use file::{MAX_KEY_FILE_BYTES, generate, import};
pub use identity::{IdentityKey, SharedKey, check_roles};
pub use public::{Address, Algorithm, InvalidPrefix, PublicKey, UnknownName};
