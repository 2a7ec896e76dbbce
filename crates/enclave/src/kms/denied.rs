//! Access denied: with the measurements of this enclave, and the statement of a key policy that would allow it.
use super::operation::{AllowedBy, Operation};
use super::sigv4::hex;
use std::collections::BTreeMap;
use std::fmt;

/// The registers that a key policy's condition may name and that people use: image, kernel, application, role, instance, signer.
const SHOWN_PCRS: [u8; 6] = [0, 1, 2, 3, 4, 8];

/// What is known about a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// KMS's own words.
    pub message: String,
    /// This enclave's registers 0, 1, 2, 3, 4 and 8, in lower-case hexadecimal; those that are zero are left out.
    pub pcrs: BTreeMap<u8, String>,
    /// The region that was asked.
    pub region: &'static str,
    /// KMS's name of what was asked.
    pub operation: &'static str,
    /// Who has to allow it.
    pub allowed_by: AllowedBy,
}

impl Denied {
    pub(super) fn new<O: Operation>(message: String, pcrs: &BTreeMap<u8, Vec<u8>>, region: &'static str) -> Self {
        let is_shown = |(index, value): &(&u8, &Vec<u8>)| SHOWN_PCRS.contains(index) && value.iter().any(|b| *b != 0);
        let pcrs = pcrs.iter().filter(is_shown).map(|(index, value)| (*index, hex(value))).collect();
        Self { message, pcrs, region, operation: O::NAME, allowed_by: O::ALLOWED_BY }
    }

    /// The statement that lets an enclave of this image have the key. None in debug mode: its measurements are zeros.
    #[must_use]
    pub fn statement(&self) -> Option<String> {
        let condition = match self.allowed_by {
            AllowedBy::Iam | AllowedBy::KeyPolicy => String::new(),
            AllowedBy::KeyPolicyForMeasurement => format!(
                ",\n  \"Condition\": {{\n    \"StringEqualsIgnoreCase\": {{ \"kms:RecipientAttestation:ImageSha384\": \"{}\" }}\n  }}",
                self.pcrs.get(&0)?
            ),
        };
        let principal = self.principal().unwrap_or_else(|| "arn:aws:iam::ACCOUNT:role/ROLE-OF-THE-PARENT".to_owned());
        let principal = match self.allowed_by {
            AllowedBy::Iam => String::new(),
            _ => format!("\n  \"Principal\": {{ \"AWS\": \"{principal}\" }},"),
        };
        let (sid, operation) = match self.allowed_by {
            AllowedBy::KeyPolicyForMeasurement => ("ReleaseToThisEnclaveImage", self.operation),
            _ => ("KeyCeremony", self.operation),
        };
        Some(format!(
            r#"{{
  "Sid": "{sid}",
  "Effect": "Allow",{principal}
  "Action": "kms:{operation}",
  "Resource": "*"{condition}
}}"#
        ))
    }

    /// Who asked, from KMS's words "User: arn:… is not authorized": a session of a role is that role.
    fn principal(&self) -> Option<String> {
        let (_, rest) = self.message.split_once("User: ")?;
        let arn = rest.split(' ').next()?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/-_+=,.@".contains(&byte);
        if !arn.starts_with("arn:") || !arn.bytes().all(is_plain) {
            return None;
        }
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [_, partition, service, _, account, resource] = parts[..] else { return None };
        match resource.strip_prefix("assumed-role/").and_then(|session| session.split('/').next()) {
            Some(role) if service == "sts" => Some(format!("arn:{partition}:iam::{account}:role/{role}")),
            _ => Some(arn.to_owned()),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.allowed_by {
            AllowedBy::KeyPolicyForMeasurement => write!(f, "KMS denies this enclave the key: {}", self.message)?,
            AllowedBy::KeyPolicy => {
                let statement = self.statement().unwrap_or_default();
                return write!(
                    f,
                    "KMS denies the use of the key: {}\nThe key policy allows it with this statement, if no Deny stands against it (`tmkms \
                     nitro policy` writes the whole policy):\n{statement}",
                    self.message
                );
            }
            AllowedBy::Iam => {
                let statement = self.statement().unwrap_or_default();
                return write!(
                    f,
                    "KMS denies it: {}\nNo key is involved, so its permission stands in the IAM policy of the role:\n{statement}",
                    self.message
                );
            }
        }
        let Some(statement) = self.statement() else {
            return f.write_str(
                "\nThis enclave's PCR0 is zero: it runs in debug mode, and no key policy should release a key to zeros; start it without \
                 --debug-mode (and without --attach-console)",
            );
        };
        f.write_str("\nThis enclave's measurements:")?;
        for (index, value) in &self.pcrs {
            write!(f, "\n  PCR{index} {value}")?;
        }
        write!(
            f,
            "\nIf the policy names another PCR0, another image is running; check also that the key is in {}. The key policy allows \
             it with this statement, if no Deny stands against it (`aws kms get-key-policy`, `put-key-policy`). Use it only if \
             this is the PCR0 of your own build; never take it from the parent:\n{statement}",
            self.region
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::operation::Decrypt;

    fn denied(message: &str, pcr0: u8) -> Denied {
        let pcrs = [(0, vec![pcr0; 48]), (1, vec![1; 48]), (3, vec![0; 48]), (4, vec![0xab; 48]), (5, vec![5; 48])];
        Denied::new::<Decrypt<'_>>(message.to_owned(), &BTreeMap::from(pcrs), "us-east-1")
    }

    #[test]
    fn the_statement_names_the_role_and_pcr0_and_is_json() {
        let denied = denied(
            "User: arn:aws:sts::111122223333:assumed-role/validator/i-0abc is not authorized to perform: kms:Decrypt",
            0xcd,
        );
        let statement: serde_json::Value = serde_json::from_str(&denied.statement().unwrap()).unwrap();
        assert_eq!(statement["Principal"]["AWS"], "arn:aws:iam::111122223333:role/validator");
        let condition = &statement["Condition"]["StringEqualsIgnoreCase"]["kms:RecipientAttestation:ImageSha384"];
        assert_eq!(condition, &"cd".repeat(48));
        let text = denied.to_string();
        assert!(text.contains(&format!("PCR4 {}", "ab".repeat(48))), "{text}");
        assert!(!text.contains("PCR3") && !text.contains("PCR5"), "{text}");
        assert!(text.contains("only if this is the PCR0 of your own build; never take it from the parent"), "{text}");
    }

    #[test]
    fn a_user_is_named_as_he_is_and_strange_words_are_not_taken_into_json() {
        assert_eq!(
            denied("User: arn:aws:iam::111122223333:user/me is not", 1).principal().as_deref(),
            Some("arn:aws:iam::111122223333:user/me")
        );
        for message in ["", "User: ", "User: arn:aws:iam::1:user/\"}", "User: me is not", "User: arn: is"] {
            assert_eq!(denied(message, 1).principal(), None, "{message}");
        }
        assert!(denied("no", 1).statement().unwrap().contains("ROLE-OF-THE-PARENT"));
    }

    #[test]
    fn debug_mode_is_told_instead_of_a_statement_with_zeros() {
        let denied = denied("no", 0);
        assert_eq!(denied.statement(), None);
        assert!(denied.to_string().contains("debug mode"));
    }
}
