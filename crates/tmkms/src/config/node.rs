//! Reads the section `[[validator]]`: a node, how it is reached, and who this signer is to it.
use super::address;
use super::fields::{At, Fields, shorten};
use super::kms_key;
use super::raw::{Validator, chain_id, path};
use super::vsock;
use super::{Identity, MAX_TIMEOUT, MIN_SILENCE};
use guard::Height;
use signer::Endpoint;
use signer::keys::Algorithm;
use std::path::Path;
use std::time::Duration;
use toml::de::DeValue;

/// How long to wait for a node, unless `timeout` says otherwise. tmkms 0.15 waits 10 s; a node pings every 3.33 s, and
/// one that has a signer already lets the next one's handshake wait.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn read(fields: &mut Fields<'_, '_>, folder: &Path) -> Option<Validator> {
    let chain_id =
        fields.required_text("chain_id", "name one of the [[chain]] ids").and_then(|id| chain_id(fields, id));
    let address = read_address(fields, folder);
    let identity = read_identity(fields, folder);
    let reconnect = fields.flag("reconnect").is_none_or(|flag| flag.value);
    let timeout = read_timeout(fields);
    let max_height = read_max_height(fields);
    check_protocol_version(fields);
    if identity.is_none() && (fields.has("secret_key") || fields.has("identity_key_b64")) {
        // Its fault is told; it is not missing, too.
        return None;
    }
    Some(Validator {
        at: fields.at(),
        chain_id: chain_id?,
        address: address?,
        identity,
        reconnect,
        timeout,
        max_height,
    })
}

fn read_timeout(fields: &mut Fields<'_, '_>) -> Duration {
    let Some(At { value, at }) = fields.number("timeout", "1 to 65535 seconds", 1..=i64::from(u16::MAX)) else {
        return DEFAULT_TIMEOUT;
    };
    let timeout = u64::try_from(value).map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let (least, most) = (MIN_SILENCE.as_secs(), MAX_TIMEOUT.as_secs());
    let message = if timeout < MIN_SILENCE {
        format!(
            "{value} s is for connecting alone; a node's silence ends a session after {least} s, as it pings every 3.33 s"
        )
    } else if timeout > MAX_TIMEOUT {
        format!("{value} s is taken as {most} s: a node that went away without a word is dialled again only after that")
    } else {
        return timeout;
    };
    let help = format!("write {least} to {most}, or remove it for {} s", DEFAULT_TIMEOUT.as_secs());
    fields.warn(&at, format!("`timeout` in [[validator]]: {message}"), help);
    timeout.min(MAX_TIMEOUT)
}

fn read_identity(fields: &mut Fields<'_, '_>, folder: &Path) -> Option<At<Identity>> {
    let file = path(fields, "secret_key", folder);
    let released = kms_key::read(fields, "identity_key_b64", Algorithm::Ed25519, None);
    if let (Some(_), Some(At { at, .. })) = (&file, &released) {
        let message = "`secret_key` and `identity_key_b64` in [[validator]] exclude each other: one key, one place";
        fields.fault(at, message, "remove one of the two");
    }
    let released = released.map(|At { value, at }| At { value: Identity::Kms(value), at });
    released.or(file.map(|At { value, at }| At { value: Identity::File(value), at }))
}

fn read_address(fields: &mut Fields<'_, '_>, folder: &Path) -> Option<At<Endpoint>> {
    if let Some(DeValue::Table(_)) = fields.value("addr").map(toml::Spanned::get_ref) {
        return vsock::read_address(fields);
    }
    let help = "write addr = \"unix:///path/to/socket\" or addr = \"tcp://host:port\", the node's priv_validator_laddr; in an \
                enclave addr = { port = N }, the port of `tmkms nitro proxy`";
    let At { value, at } = fields.required_text("addr", help)?;
    if let Some(flag) = fields.flag("secret_connection") {
        let message = "`secret_connection` in [[validator]] goes with addr = { port = N }: tcp:// is always encrypted, unix:// never";
        fields.fault(&flag.at, message, "remove it");
    }
    match address::parse(value, folder) {
        Ok(value) => Some(At { value, at }),
        Err((message, help)) => {
            fields.fault(&at, format!("`addr` in [[validator]]: {message}"), help);
            None
        }
    }
}

/// tmkms takes the height as a text; a number says the same.
fn read_max_height(fields: &mut Fields<'_, '_>) -> Option<Height> {
    let found = fields.value("max_height")?;
    let height = match found.get_ref() {
        DeValue::String(text) => {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let height = text.parse::<i64>().ok().filter(|height| digits && *height > 0);
            if height.is_none() {
                let message =
                    format!("`max_height` in [[validator]]: expected a height from 1 on, got \"{}\"", shorten(text));
                fields.fault(&found.span(), message, "");
            }
            height
        }
        _ => fields.number("max_height", "a height from 1 on", 1..=i64::MAX).map(|number| number.value),
    };
    height.and_then(|height| Height::try_from(height).ok())
}

/// One codec serves every version, so this key restricts nothing; only its form is checked.
fn check_protocol_version(fields: &mut Fields<'_, '_>) {
    let Some(At { value, at }) = fields.text("protocol_version") else { return };
    let numbers = value.strip_prefix('v').unwrap_or_default();
    let is_version = !numbers.is_empty()
        && numbers.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if value != "legacy" && !is_version {
        let message = format!(
            "`protocol_version` in [[validator]]: expected a version such as \"v0.34\" or \"v0.38\", or \"legacy\", got \"{}\"",
            shorten(value)
        );
        fields.fault(&at, message, "every version is served alike: the key may be removed");
    }
}
