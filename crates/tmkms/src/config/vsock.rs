//! Reads ports of the parent: a node's address behind a proxy, and the section `[nitro]`.
use super::NitroSettings;
use super::fields::{At, Fields};
use super::outside;
use super::schema;
use signer::Endpoint;
use signer::secret_connection::PeerId;

/// The highest vsock port: the one above means "any" (vsock(7), `VMADDR_PORT_ANY`).
const MAX_PORT: i64 = u32::MAX as i64 - 1;

pub(super) fn read_port(fields: &mut Fields<'_, '_>, name: &str) -> Option<At<u32>> {
    let At { value, at } = fields.number(name, "a vsock port from 1 to 4294967294", 1..=MAX_PORT)?;
    u32::try_from(value).ok().map(|value| At { value, at })
}

/// `addr = { port = N }`, raw, or with `secret_connection = true`.
pub(super) fn read_address(fields: &mut Fields<'_, '_>) -> Option<At<Endpoint>> {
    let secret = fields.flag("secret_connection").is_some_and(|flag| flag.value);
    let mut inner = fields.table("addr", &schema::ADDRESS)?;
    let at = inner.at();
    if !inner.has("port") {
        inner.missing("port", "write addr = { port = N }, the port of `tmkms nitro proxy` on the parent");
    }
    let port = read_port(&mut inner, "port");
    let peer_id = read_peer_id(&mut inner, secret);
    Some(At { value: Endpoint::Vsock { port: port?.value, secret, peer_id }, at })
}

fn read_peer_id(fields: &mut Fields<'_, '_>, secret: bool) -> Option<PeerId> {
    let At { value, at } = fields.text("peer_id")?;
    if !secret {
        let message =
            "`peer_id` in addr of [[validator]] needs `secret_connection = true`: else nobody proves who he is";
        fields.fault(&at, message, "add secret_connection = true and an identity key, or remove it");
    }
    let parsed = value.parse();
    if let Err(error) = &parsed {
        fields.fault(&at, format!("`peer_id` in addr of [[validator]]: {error}"), "");
    }
    parsed.ok()
}

pub(super) fn read_nitro(fields: &mut Fields<'_, '_>) -> NitroSettings {
    let default = NitroSettings::default();
    NitroSettings {
        kms_proxy_port: read_port(fields, "kms_proxy_port").map_or(default.kms_proxy_port, |port| port.value),
        allow_debug: fields.flag("allow_debug").is_some_and(|flag| flag.value),
        log_level: fields.choice("log_level", &outside::LEVELS).map(|level| level.value),
    }
}
