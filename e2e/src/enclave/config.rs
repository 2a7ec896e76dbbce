//! The configuration of an arrangement's chains, as an operator would write it.
use super::{Made, Plaintext, REGION, STATE_PORT};
use std::fmt::Write as _;

/// One chain's part of the configuration; every node takes the next port.
pub(super) fn write_chain(text: &mut String, made: &Made, port: &mut u32) {
    let (id, arn) = (&made.chain.id, &made.arn);
    let context = |purpose: &str| format!("encryption_context = {{ chain = \"{id}\", purpose = \"{purpose}\" }}");
    let (ciphertext, identity, consensus) = (&made.ciphertext, &made.identity, context("consensus"));
    let provider = match &made.chain.key {
        Plaintext::Nobodys(_, lines) => lines.clone(),
        _ => format!(
            "[[providers.softsign]]\nchain_ids = [\"{id}\"]\nkey_type = \"consensus\"\nencrypted_key_b64 = \"{ciphertext}\"\n\
             aws_region = \"{REGION}\"\nkms_key_arn = \"{arn}\"\n{consensus}\n"
        ),
    };
    let _ = write!(
        text,
        "[[chain]]\nid = \"{id}\"\nkey_format = {{ type = \"hex\" }}\nstate_vsock_port = {STATE_PORT}\n\n{provider}\n"
    );
    for node in &made.chain.nodes {
        let _ = write!(text, "[[validator]]\nchain_id = \"{id}\"\naddr = {{ port = {port} }}\nreconnect = true\n");
        if node.starts_with("tcp://") {
            let context = context("identity");
            let _ = write!(
                text,
                "secret_connection = true\nidentity_key_b64 = \"{identity}\"\naws_region = \"{REGION}\"\nkms_key_arn = \"{arn}\"\n{context}\n"
            );
        }
        text.push('\n');
        *port += 1;
    }
}
