//! Amazon resource names of KMS keys.
use std::fmt;

/// The longest that is looked at, in bytes; a key's ARN has about 80.
const MAX_ARN_BYTES: usize = 256;

/// The ARN of a KMS key, taken apart: `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyArn<'a> {
    /// "aws", "aws-cn", "aws-us-gov", …
    pub partition: &'a str,
    /// For instance "us-east-1".
    pub region: &'a str,
    /// Twelve digits.
    pub account: &'a str,
    /// The key's id; "mrk-…" for a multi-Region key.
    pub key_id: &'a str,
}

impl<'a> KeyArn<'a> {
    /// Takes a key's ARN apart.
    ///
    /// # Errors
    /// It is no ARN of a key: an alias, a bare key id, or something else.
    pub fn parse(arn: &'a str) -> Result<Self, InvalidKeyArn> {
        Self::parts(arn).ok_or_else(|| InvalidKeyArn { got: super::shown(arn, MAX_ARN_BYTES) })
    }

    fn parts(arn: &'a str) -> Option<Self> {
        if arn.len() > MAX_ARN_BYTES {
            return None;
        }
        let mut parts = arn.split(':');
        let found = [(); 6].map(|()| parts.next());
        let [Some("arn"), Some(partition), Some("kms"), Some(region), Some(account), Some(resource)] = found else {
            return None;
        };
        let key_id = resource.strip_prefix("key/")?;
        let is_name = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        (parts.next().is_none() && is_account && [partition, region, key_id].into_iter().all(is_name)).then_some(Self {
            partition,
            region,
            account,
            key_id,
        })
    }
}

/// A text that should be the ARN of a KMS key and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKeyArn {
    got: String,
}

impl fmt::Display for InvalidKeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this is no KMS key ARN: expected arn:aws:kms:REGION:ACCOUNT:key/ID, got {}; an alias or a bare id will not do, \
             `aws kms describe-key --key-id …` prints the Arn",
            self.got
        )
    }
}

impl std::error::Error for InvalidKeyArn {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_arn_is_taken_apart_in_every_partition() {
        let arn =
            KeyArn::parse("arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab").unwrap();
        assert_eq!((arn.partition, arn.region, arn.account), ("aws-cn", "cn-north-1", "111122223333"));
        assert_eq!(arn.key_id, "1234abcd-12ab-34cd-56ef-1234567890ab");
    }

    #[test]
    fn aliases_ids_and_decorated_arns_are_refused() {
        for arn in [
            "",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:us-east-1:111122223333:alias/validator",
            "arn:aws:kms:us-east-1:11112222333:key/1",
            "arn:aws:kms:us-east-1:111122223333:key/",
            "arn:aws:kms:us-east-1:111122223333:key/1:2",
            "arn:aws:kms:us-east-1@evil:111122223333:key/1",
            "arn:aws:s3:us-east-1:111122223333:key/1",
            " arn:aws:kms:us-east-1:111122223333:key/1",
        ] {
            let text = KeyArn::parse(arn).unwrap_err().to_string();
            assert!(text.contains("describe-key"), "{text}");
        }
        let text = KeyArn::parse("a\nb\u{1b}[31m").unwrap_err().to_string();
        assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text}");
    }
}
