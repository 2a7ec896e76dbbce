//! A ciphertext is worth something only if it opens: it is opened once, before anybody is told of it.
use crate::{Making, envelope};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use enclave::ceremony::refused;
use enclave::kms::DecryptRequest;
use std::collections::BTreeMap;
use wire::control::Failure;

/// Has it decrypted as a signer will: by KMS, for a recipient, in the same context.
pub(crate) fn opens(
    making: &Making<'_>,
    ciphertext: &[u8],
    context: &BTreeMap<String, String>,
    secret: &[u8],
) -> Result<(), Failure> {
    let order = making.order;
    let wanted = DecryptRequest {
        region: order.region,
        ciphertext: envelope::for_kms(ciphertext),
        key_arn: Some(&order.key_arn),
        encryption_context: context,
    };
    let opened = making.room.decrypt(order.kms_proxy_port, making.credentials, making.recipient, &wanted)?;
    let opened = envelope::open(ciphertext, context, opened)
        .map_err(|what| refused("proof", format!("the ciphertext does not open: {what}"), "order again"))?;
    verify_slices_are_equal(&opened, secret).map_err(|_| {
        let reason = "what the ciphertext opens to is not the key that was encrypted: what answers is not KMS, or it was exchanged on its way";
        refused("proof", reason, "check what the parent's proxy forwards to; nothing was given out")
    })
}
