//! CometBFT's `priv_validator_state.json` (`privval/file.go`: `FilePVLastSignState`, the same from v0.34 to v1).
//!
//! `{"height":"1","round":0,"step":3,"signature":base64,"signbytes":HEX}`: the height is a string, the last two are
//! left out when empty, steps are 0 none, 1 proposal, 2 prevote, 3 precommit.
use super::{Evidence, Exported, Format, FormatError, Imported, Note, hex};
use base64ct::{Base64, Encoding};
use guard::{ChainId, Height, Position, Record, Round, Statement, Step};
use serde::{Deserialize, Serialize};

/// The file's fields.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    height: String,
    round: i64,
    step: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signbytes: Option<String>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<State, FormatError> {
    serde_json::from_slice(bytes)
        .map_err(|error| FormatError::Json { format: Format::FilePv, reason: error.to_string() })
}

/// A height as both formats write it: a decimal number in a string.
pub(super) fn height_of(text: &str) -> Result<Height, FormatError> {
    let out = || FormatError::Range { field: "height", got: format!("{text:?}") };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(out());
    }
    text.parse().ok().and_then(|number: i64| Height::try_from(number).ok()).ok_or_else(out)
}

pub(super) fn import(bytes: &[u8], chain_id: &ChainId) -> Result<Imported, FormatError> {
    let state = parse(bytes)?;
    let height = height_of(&state.height)?;
    let round = Round::try_from(state.round)
        .map_err(|_| FormatError::Range { field: "round", got: state.round.to_string() })?;
    let mut notes = Vec::new();
    let signature = signature(&state)?;
    if signature.is_some() {
        notes.push(Note::SignatureDropped);
    }
    let sign_bytes = sign_bytes(&state)?;
    let Some(position) = position(height, round, state.step, &mut notes)? else {
        if sign_bytes.is_some() {
            return Err(FormatError::Range {
                field: "step",
                got: format!("{}, though there are signbytes", state.step),
            });
        }
        let position = Position::end_of(height);
        let notes = owner_unknown(notes);
        return Ok(Imported { format: Format::FilePv, position, statement: None, evidence: None, notes });
    };
    let statement = match sign_bytes.as_deref().map(Statement::parse) {
        None => {
            notes.push(Note::BytesMissing);
            None
        }
        Some(Err(reason)) => {
            notes.push(Note::BytesUnreadable { reason });
            None
        }
        Some(Ok(statement)) => Some(check_statement(statement, position, chain_id)?),
    };
    if statement.is_none() {
        notes = owner_unknown(notes);
    } else if signature.is_none() {
        notes.push(Note::KeyUnknown);
    }
    let evidence = sign_bytes.zip(signature).map(|(bytes, signature)| Evidence { bytes, signature });
    Ok(Imported { format: Format::FilePv, position, statement, evidence, notes })
}

fn owner_unknown(mut notes: Vec<Note>) -> Vec<Note> {
    notes.push(Note::OwnerUnknown);
    notes
}

/// The position, or none where the step says nothing.
///
/// `FilePV` writes step 0 only together with height 0, before it ever signed. Step 0 at a height was written by a
/// person, who may have meant that this height was signed, or that it was not; so it counts as signed.
fn position(height: Height, round: Round, step: i64, notes: &mut Vec<Note>) -> Result<Option<Position>, FormatError> {
    if height == Height::ZERO {
        notes.push(Note::NothingSigned);
        return Ok(None);
    }
    let step = match step {
        0 => {
            notes.push(Note::StepUnclear { step });
            return Ok(None);
        }
        1 => Step::Proposal,
        2 => Step::Prevote,
        3 => Step::Precommit,
        _ => return Err(FormatError::Range { field: "step", got: step.to_string() }),
    };
    Ok(Some(Position { height, round, step }))
}

fn signature(state: &State) -> Result<Option<Vec<u8>>, FormatError> {
    match state.signature.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => Base64::decode_vec(text)
            .map(Some)
            .map_err(|_| FormatError::Range { field: "signature", got: "something other than base64".to_owned() }),
    }
}

fn sign_bytes(state: &State) -> Result<Option<Vec<u8>>, FormatError> {
    match state.signbytes.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => hex::parse(text).map(Some).ok_or(FormatError::Range {
            field: "signbytes",
            got: "something other than hexadecimal digits".to_owned(),
        }),
    }
}

fn check_statement(statement: Statement, position: Position, chain_id: &ChainId) -> Result<Statement, FormatError> {
    if statement.chain_id() != chain_id.as_str() {
        let found = statement.chain_id().to_owned();
        return Err(FormatError::AnotherChain { expected: chain_id.clone(), found });
    }
    if statement.position() != position {
        return Err(FormatError::Contradiction { fields: position, bytes: statement.position() });
    }
    Ok(statement)
}

/// `FilePV` ends by a panic on sign bytes without a signature ("Signature is nil but SignBytes is not!"), and a
/// signature cannot be made here; so both are left out, and it refuses a repeat of the position ("no `SignBytes` found").
pub(super) fn export(record: &Record) -> Exported {
    let position = record.position();
    let mut notes = vec![Note::OwnerDropped];
    if record.statement().is_some() {
        notes.push(Note::BytesDropped);
    }
    let state = if position.height == Height::ZERO {
        notes.push(Note::NothingSigned);
        State { height: "0".to_owned(), round: 0, step: 0, signature: None, signbytes: None }
    } else {
        State {
            height: position.height.to_string(),
            round: position.round.get().into(),
            step: position.step as i64,
            signature: None,
            signbytes: None,
        }
    };
    Exported { text: super::pretty(&state), notes }
}
