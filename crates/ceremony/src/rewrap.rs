//! A key that is encrypted already, for another KMS key, another region or another method.
use crate::envelope;
use crate::order::Order;
use enclave::ceremony::{Room, refused};
use enclave::kms::{DecryptRequest, KeyArn, Recipient, Region};
use wire::control::{Credentials, Failure, Wrapped};
use zeroize::Zeroizing;

/// Has the old ciphertext opened. Both KMS keys must stand in the measured policy, and the old context must name this chain, purpose and
/// public key: nothing becomes on the way what it was not made for.
pub(crate) fn opened(
    room: &Room,
    order: &Order,
    (from, public_key): (&Wrapped, &str),
    ciphertext: &[u8],
    (credentials, recipient): (&Credentials, &Recipient),
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    room.policy().permits_key(&from.key_arn).map_err(|what| {
        let remedy = "build a ceremony image whose policy names the old KMS key and the new one";
        refused(
            "policy",
            format!("the measured policy of this image, for the key that it is encrypted under now: {what}"),
            remedy,
        )
    })?;
    for (name, expected) in
        [("chain", order.chain.as_str()), ("purpose", order.role.of_context()), ("public_key", public_key)]
    {
        let got = from.encryption_context.get(name).map_or("none", String::as_str);
        if got != expected {
            let what = format!("the ciphertext's encryption context: {name}: expected {expected}, got {got}");
            let remedy = "only what a ceremony made, for the same use, is encrypted anew; another key comes in by `tmkms nitro import-key`";
            return Err(refused("order", what, remedy));
        }
    }
    let wrong = |what: String| refused("order", what, "give the lines that were written when it was encrypted");
    let region = KeyArn::parse(&from.key_arn).map_err(|error| wrong(error.to_string()))?.region;
    let region = Region::find(region).map_err(|error| wrong(error.to_string()))?;
    let wanted = DecryptRequest {
        region,
        ciphertext: envelope::for_kms(ciphertext),
        key_arn: Some(&from.key_arn),
        encryption_context: &from.encryption_context,
    };
    let decrypted = room.decrypt(from.kms_proxy_port, credentials, recipient, &wanted)?;
    envelope::open(ciphertext, &from.encryption_context, decrypted)
        .map_err(|what| refused("sealed", what, "give the ciphertext and its encryption context unchanged"))
}
