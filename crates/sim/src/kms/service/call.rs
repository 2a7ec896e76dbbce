//! One call: its parameters, checked as AWS checks them, and the decision whether the caller may.
use super::Service;
use crate::kms::error::{Answer, Failure, fail, invalid};
use crate::kms::faults::Fault;
use crate::kms::keys::{EncryptionContext, Key, State};
use crate::kms::log::Logged;
use crate::kms::policy::{Ask, Context, Verdict, decide};
use crate::kms::principals::Principal;
use crate::kms::recipient::Recipient;
use base64ct::{Base64, Encoding as _};
use serde_json::Value;
use zeroize::Zeroizing;

pub struct Call<'a> {
    pub service: &'a Service,
    pub operation: &'a str,
    pub json: &'a Value,
    pub principal: Principal,
    pub faults: &'a [Fault],
    pub now: i64,
    pub recipient: Option<Recipient>,
    pub logged: &'a mut Logged,
}

impl Call<'_> {
    /// Runs the operation.
    pub fn run(&mut self) -> Answer<Value> {
        match self.operation {
            "Encrypt" => self.encrypt(),
            "Decrypt" => self.decrypt(),
            "GenerateRandom" => self.generate_random(),
            "GenerateDataKey" => self.generate_data_key(true),
            "GenerateDataKeyWithoutPlaintext" => self.generate_data_key(false),
            "CreateKey" => self.create_key(),
            "DescribeKey" => self.describe_key(),
            "ListKeys" => self.list_keys(),
            "ListGrants" => self.list_grants(),
            "ListKeyPolicies" => self.list_key_policies(),
            "GetKeyPolicy" => self.get_key_policy(),
            "PutKeyPolicy" => self.put_key_policy(),
            "EnableKey" => self.enable_key(),
            "DisableKey" => self.disable_key(),
            "ScheduleKeyDeletion" => self.schedule_key_deletion(),
            "CancelKeyDeletion" => self.cancel_key_deletion(),
            _ => Err(fail("UnknownOperationException", "")),
        }
    }

    /// Reads the recipient, for an operation that takes one.
    pub fn take_recipient(&mut self) -> Answer<()> {
        let recipient = Recipient::of(self.json, self.service.verifier.as_ref(), self.now)?;
        self.logged.pcr0 = recipient.as_ref().and_then(Recipient::pcr0);
        self.recipient = recipient;
        Ok(())
    }

    /// Whether the caller may do this with the key; `context` is the encryption context of the request.
    pub fn authorize(&mut self, key: &Key, context: &EncryptionContext) -> Answer<()> {
        self.logged.key = Some(key.arn.clone());
        self.decide(Some(key), context)
    }

    /// Whether the caller may do this, with no key.
    pub fn authorize_without_key(&self) -> Answer<()> {
        self.decide(None, &EncryptionContext::new())
    }

    fn decide(&self, key: Option<&Key>, encryption_context: &EncryptionContext) -> Answer<()> {
        let action = format!("kms:{}", self.operation);
        let mut context = Context::default();
        for (name, value) in encryption_context {
            context.set(&format!("kms:EncryptionContext:{name}"), value);
        }
        if let Some(recipient) = &self.recipient {
            recipient.describe(&mut context);
        }
        let resource = key.map_or("*", |key| key.arn.as_str());
        let ask = Ask { action: &action, resource, principal: &self.principal, context: &context };
        let verdict = decide(&ask, key.map(|key| &key.policy), &self.service.principals.iam(&self.principal));
        self.say(verdict, &action, key)
    }

    fn say(&self, verdict: Verdict, action: &str, key: Option<&Key>) -> Answer<()> {
        let reason = match verdict {
            Verdict::Allowed => return Ok(()),
            Verdict::DeniedByKey => "with an explicit deny in a resource-based policy".to_owned(),
            Verdict::DeniedByIdentity => "with an explicit deny in an identity-based policy".to_owned(),
            Verdict::NotAllowedByKey => format!("because no resource-based policy allows the {action} action"),
            Verdict::NotAllowedByIdentity => format!("because no identity-based policy allows the {action} action"),
        };
        let resource = key.map(|key| format!(" on resource: {}", key.arn)).unwrap_or_default();
        let user = &self.principal.arn;
        Err(fail(
            "AccessDeniedException",
            format!("User: {user} is not authorized to perform: {action}{resource} {reason}"),
        ))
    }

    /// The answer to a ciphertext of a key that is not there: the same as to one that may not be used from another account.
    pub fn no_such_ciphertext(&self) -> Failure {
        let (user, operation) = (&self.principal.arn, self.operation);
        let text = format!(
            "User: {user} is not authorized to perform: kms:{operation} on the resource associated with this ciphertext because the resource does not exist \
             in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
        );
        fail("AccessDeniedException", text)
    }

    /// A field that has to be there, as text.
    pub fn text(&self, name: &str) -> Answer<&str> {
        self.optional_text(name)?.ok_or_else(|| constraint(name, "Member must not be null"))
    }

    pub fn optional_text(&self, name: &str) -> Answer<Option<&str>> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(fail("SerializationException", format!("{name} is not a string"))),
        }
    }

    pub fn optional_number(&self, name: &str) -> Answer<Option<u64>> {
        match self.json.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| fail("SerializationException", format!("{name} is not a number"))),
        }
    }

    /// A field of base64 with 1 to `max_bytes` bytes.
    pub fn bytes(&self, name: &str, max_bytes: usize) -> Answer<Zeroizing<Vec<u8>>> {
        let decoded = Base64::decode_vec(self.text(name)?);
        let bytes =
            Zeroizing::new(decoded.map_err(|_| fail("SerializationException", format!("{name} is not base64")))?);
        match bytes.len() {
            0 => Err(constraint(name, "Member must have length greater than or equal to 1")),
            length if length > max_bytes => {
                Err(constraint(name, &format!("Member must have length less than or equal to {max_bytes}")))
            }
            _ => Ok(bytes),
        }
    }

    /// The encryption context; empty when there is none.
    pub fn encryption_context(&self) -> Answer<EncryptionContext> {
        let object = match self.json.get("EncryptionContext") {
            None | Some(Value::Null) => return Ok(EncryptionContext::new()),
            Some(value) => value.as_object(),
        };
        let wrong = || fail("SerializationException", "EncryptionContext is not a map of strings");
        let pair = |(name, value): (&String, &Value)| Ok((name.clone(), value.as_str().ok_or_else(wrong)?.to_owned()));
        object.ok_or_else(wrong)?.iter().map(pair).collect()
    }

    /// The only algorithm that a symmetric key has.
    pub fn check_algorithm(&self) -> Answer<()> {
        match self.optional_text("EncryptionAlgorithm")? {
            None | Some("SYMMETRIC_DEFAULT") => Ok(()),
            Some(other) => {
                Err(fail("InvalidKeyUsageException", format!("{other} is not an algorithm of a symmetric key")))
            }
        }
    }
}

/// AWS's words for a parameter that breaks a constraint.
pub fn constraint(name: &str, what: &str) -> Failure {
    let mut letters = name.chars();
    let lower =
        letters.next().map(|first| first.to_ascii_lowercase().to_string() + letters.as_str()).unwrap_or_default();
    invalid(format!("1 validation error detected: Value at '{lower}' failed to satisfy constraint: {what}"))
}

/// Whether the key can be used.
pub fn usable(key: &Key) -> Answer<()> {
    match key.state {
        State::Enabled => Ok(()),
        State::Disabled => Err(fail("DisabledException", format!("{} is disabled.", key.arn))),
        State::PendingDeletion => Err(pending(key)),
    }
}

/// The answer to what can't be done with a key that is going to be deleted.
pub fn pending(key: &Key) -> Failure {
    fail("KMSInvalidStateException", format!("{} is pending deletion.", key.arn))
}
