//! Who a key policy may name here: single IAM roles and users, and nobody who is many.
use std::fmt;
use std::str::FromStr;

const EXPECTED: &str = "expected arn:aws:iam::ACCOUNT:role/NAME, or user/NAME";
const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];
/// Longer than any that IAM makes: a path of 512 characters and a name of 64.
const MAX_ARN_BYTES: usize = 640;
const ROOT: &str = "hands the decision to IAM: every administrator of that account may then decrypt; name a role";

/// The ARN of one IAM role or user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    arn: String,
}

impl Principal {
    pub(super) fn as_str(&self) -> &str {
        &self.arn
    }

    /// "aws", "aws-cn" or "aws-us-gov".
    pub(super) fn partition(&self) -> &str {
        self.part(1)
    }

    /// Twelve digits.
    pub(super) fn account(&self) -> &str {
        self.part(4)
    }

    /// Whether both are one in IAM, where a name is taken once in an account, whatever its path and its capitals.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let identity = |who: &Self| {
            let resource = who.part(5).to_ascii_lowercase();
            let kind = resource.split('/').next().unwrap_or_default().to_owned();
            let name = resource.rsplit('/').next().unwrap_or_default().to_owned();
            (who.account().to_owned(), kind, name)
        };
        identity(self) == identity(other)
    }

    fn part(&self, index: usize) -> &str {
        self.arn.splitn(6, ':').nth(index).unwrap_or_default()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

impl FromStr for Principal {
    type Err = String;

    fn from_str(arn: &str) -> Result<Self, String> {
        if arn.len() > MAX_ARN_BYTES {
            return Err(format!("{EXPECTED}, got {} bytes, more than an ARN has", arn.len()));
        }
        if arn == "*" {
            return Err(format!("* is everybody, in every account; {EXPECTED}"));
        }
        if arn.contains(['*', '?']) {
            return Err(format!("no wildcard stands for a part of a name in a key's policy; {EXPECTED}"));
        }
        if is_account(arn) {
            return Err(format!("an account {ROOT}"));
        }
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, resource] = parts[..] else {
            return Err(format!("{EXPECTED}, got no ARN"));
        };
        if !PARTITIONS.contains(&partition) {
            return Err(format!("{EXPECTED}, got the partition {partition:?}, known are {}", PARTITIONS.join(", ")));
        }
        if let ("sts", Some(session)) = (service, resource.strip_prefix("assumed-role/")) {
            let role = session.split('/').next().unwrap_or_default();
            return Err(format!("a session ends, name its role: arn:{partition}:iam::{account}:role/{role}"));
        }
        if service != "iam" || !region.is_empty() {
            return Err(format!("{EXPECTED}, got something of the service {service:?}"));
        }
        if !is_account(account) {
            return Err(format!("{EXPECTED} with an account of 12 digits, got {account:?}"));
        }
        if resource == "root" {
            return Err(format!("an account's root {ROOT}"));
        }
        let name = resource.strip_prefix("role/").or_else(|| resource.strip_prefix("user/"));
        let Some(name) = name else {
            return Err(format!("{EXPECTED}, got {resource:?}: groups and instance profiles are no principals"));
        };
        let is_plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
        };
        if !name.split('/').all(is_plain) {
            return Err(format!("{EXPECTED} with a name of letters, digits and +=,.@_-, got {name:?}"));
        }
        Ok(Self { arn: arn.to_owned() })
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(arn: &str) -> Principal {
        arn.parse().unwrap()
    }

    #[test]
    fn roles_and_users_of_every_partition_are_principals() {
        for arn in [
            "arn:aws:iam::111122223333:role/validator",
            "arn:aws:iam::111122223333:role/service/nodes/validator_1",
            "arn:aws-cn:iam::111122223333:user/ann@example.com",
            "arn:aws-us-gov:iam::111122223333:role/a+b=c,d.e-f",
        ] {
            assert_eq!(principal(arn).as_str(), arn);
        }
        let admin = principal("arn:aws-cn:iam::111122223333:user/x");
        assert_eq!((admin.partition(), admin.account()), ("aws-cn", "111122223333"));
    }

    #[test]
    fn who_is_many_or_nobody_is_refused_with_the_reason() {
        let table = [
            ("*", "everybody"),
            ("arn:aws:iam::111122223333:role/*", "no wildcard"),
            ("arn:aws:iam::*:role/validator", "no wildcard"),
            ("arn:aws:iam::111122223333:role/validato?", "no wildcard"),
            ("111122223333", "every administrator of that account may then decrypt"),
            ("arn:aws:iam::111122223333:root", "an account's root hands the decision to IAM"),
            ("arn:aws-cn:iam::111122223333:root", "an account's root hands the decision to IAM"),
            ("validator", "got no ARN"),
            ("", "got no ARN"),
            ("ARN:aws:iam::111122223333:role/a", "got no ARN"),
            (
                "arn:aws-iso:iam::111122223333:role/a",
                "got the partition \"aws-iso\", known are aws, aws-cn, aws-us-gov",
            ),
            ("arn:aws:iam::11112222333:role/a", "12 digits, got \"11112222333\""),
            ("arn:aws:iam::11112222333x:role/a", "12 digits, got"),
            ("arn:aws:iam:eu-central-1:111122223333:role/a", "got something of the service"),
            ("arn:aws:s3::111122223333:role/a", "the service \"s3\""),
            (
                "arn:aws:sts::111122223333:assumed-role/validator/i-0abc",
                "name its role: arn:aws:iam::111122223333:role/validator",
            ),
            ("arn:aws:iam::111122223333:instance-profile/validator", "instance profiles are no principals"),
            ("arn:aws:iam::111122223333:group/admins", "groups"),
            ("arn:aws:iam::111122223333:role/", "got \"\""),
            ("arn:aws:iam::111122223333:role//a", "got \"/a\""),
            ("arn:aws:iam::111122223333:role/a b", "got \"a b\""),
            ("arn:aws:iam::111122223333:role/a\u{1b}[2J", "got \"a\\u{1b}[2J\""),
            ("ec2.amazonaws.com", "got no ARN"),
        ];
        for (arn, expected) in table {
            let error = arn.parse::<Principal>().unwrap_err();
            assert!(error.contains(expected), "{arn}: {error}");
        }
        let long = format!("arn:aws:iam::111122223333:role/{}", "a".repeat(640));
        assert!(long.parse::<Principal>().unwrap_err().contains("more than an ARN has"));
    }

    #[test]
    fn one_name_in_one_account_is_one_principal() {
        let role = principal("arn:aws:iam::111122223333:role/validator");
        assert!(role.is_same(&principal("arn:aws:iam::111122223333:role/a/b/Validator")));
        for other in ["111122223333:user/validator", "111122223334:role/validator", "111122223333:role/validator2"] {
            assert!(!role.is_same(&principal(&format!("arn:aws:iam::{other}"))), "{other}");
        }
    }
}
