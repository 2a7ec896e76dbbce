//! Managing keys: make, describe, policies, states.
use super::call::{Call, constraint, pending};
use crate::kms::error::{Answer, fail};
use crate::kms::keys::{EncryptionContext, Key, State};
use crate::kms::policy::{Ask, Attached, Context, Policy, Verdict, decide, malformed};
use serde_json::{Value, json};

const DAY_SECONDS: i64 = 86_400;

/// What AWS puts when no policy is given: the account's IAM decides.
pub fn default_policy(account: &str) -> String {
    let statement = json!({
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
        "Action": "kms:*",
        "Resource": "*",
    });
    json!({ "Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement] }).to_string()
}

impl Call<'_> {
    pub fn create_key(&mut self) -> Answer<Value> {
        self.authorize_without_key()?;
        let unsupported = |text: &str| Err(fail("UnsupportedOperationException", text));
        for (name, only) in [
            ("KeySpec", "SYMMETRIC_DEFAULT"),
            ("CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"),
            ("KeyUsage", "ENCRYPT_DECRYPT"),
        ] {
            if self.optional_text(name)?.is_some_and(|value| value != only) {
                return unsupported(&format!("{name}: this development KMS has only {only}"));
            }
        }
        if self.json.get("MultiRegion").is_some_and(|value| *value == true) {
            return unsupported("MultiRegion: this development KMS has one Region");
        }
        let policy = self.optional_text("Policy")?.map_or_else(|| default_policy(&self.service.account), str::to_owned);
        self.check_lockout(&policy, "*")?;
        let description = self.optional_text("Description")?.unwrap_or_default();
        let mut keys = self.service.keys_mut();
        let key = keys.create(description, &policy, self.now)?;
        self.logged.key = Some(key.arn.clone());
        Ok(json!({ "KeyMetadata": metadata(key, &self.service.account) }))
    }

    /// Refuses a policy under which the caller could not put another, as AWS does unless told otherwise.
    fn check_lockout(&self, policy: &str, arn: &str) -> Answer<()> {
        let policy = Policy::parse(policy, Attached::Key)?;
        if self.json.get("BypassPolicyLockoutSafetyCheck").is_some_and(|value| *value == true) {
            return Ok(());
        }
        let context = Context::default();
        let ask = Ask { action: "kms:PutKeyPolicy", resource: arn, principal: &self.principal, context: &context };
        // A key that is not there yet belongs to the caller's account.
        let own = format!("arn:aws:kms:{}:{}:key/new", self.service.region, self.service.account);
        let ask = if arn == "*" { Ask { resource: &own, ..ask } } else { ask };
        match decide(&ask, Some(&policy), &self.service.principals.iam(&self.principal)) {
            Verdict::Allowed => Ok(()),
            _ => Err(malformed("The new key policy will not allow you to update the key policy in the future.")),
        }
    }

    /// Finds the key that the request names, and asks whether the caller may.
    fn with_key<T>(&mut self, then: impl FnOnce(&Self, &Key) -> Answer<T>) -> Answer<T> {
        let keys = self.service.keys();
        let key = keys.find(self.text("KeyId")?)?;
        self.authorize(key, &EncryptionContext::new())?;
        then(self, key)
    }

    pub fn describe_key(&mut self) -> Answer<Value> {
        self.with_key(|call, key| Ok(json!({ "KeyMetadata": metadata(key, &call.service.account) })))
    }

    pub fn list_keys(&mut self) -> Answer<Value> {
        self.authorize_without_key()?;
        let keys = self.service.keys();
        let list: Vec<Value> = keys.all().map(|key| json!({ "KeyId": key.id, "KeyArn": key.arn })).collect();
        Ok(json!({ "Keys": list, "Truncated": false }))
    }

    pub fn list_grants(&mut self) -> Answer<Value> {
        self.with_key(|_, _| Ok(json!({ "Grants": [], "Truncated": false })))
    }

    pub fn list_key_policies(&mut self) -> Answer<Value> {
        self.with_key(|_, _| Ok(json!({ "PolicyNames": ["default"], "Truncated": false })))
    }

    pub fn get_key_policy(&mut self) -> Answer<Value> {
        self.policy_name()?;
        self.with_key(|_, key| Ok(json!({ "Policy": key.policy_text, "PolicyName": "default" })))
    }

    pub fn put_key_policy(&mut self) -> Answer<Value> {
        self.policy_name()?;
        let text = self.text("Policy")?.to_owned();
        let id = self.with_key(|call, key| {
            if key.state == State::PendingDeletion {
                return Err(pending(key));
            }
            call.check_lockout(&text, &key.arn)?;
            Ok(key.id.clone())
        })?;
        let policy = Policy::parse(&text, Attached::Key)?;
        self.service.keys_mut().change(&id, |key| {
            key.policy = policy;
            key.policy_text = text;
        })?;
        Ok(json!({}))
    }

    fn policy_name(&self) -> Answer<()> {
        match self.optional_text("PolicyName")? {
            None | Some("default") => Ok(()),
            Some(other) => Err(fail("NotFoundException", format!("No such policy exists: {other}"))),
        }
    }

    pub fn enable_key(&mut self) -> Answer<Value> {
        self.change_state(State::Enabled)
    }

    pub fn disable_key(&mut self) -> Answer<Value> {
        self.change_state(State::Disabled)
    }

    fn change_state(&mut self, state: State) -> Answer<Value> {
        let id = self.with_key(|_, key| match key.state {
            State::PendingDeletion => Err(pending(key)),
            State::Enabled | State::Disabled => Ok(key.id.clone()),
        })?;
        self.service.keys_mut().change(&id, |key| key.state = state)?;
        Ok(json!({}))
    }

    pub fn schedule_key_deletion(&mut self) -> Answer<Value> {
        let days = self.optional_number("PendingWindowInDays")?.unwrap_or(30);
        if !(7..=30).contains(&days) {
            return Err(constraint("PendingWindowInDays", "Member must have value between 7 and 30"));
        }
        let (id, arn) = self.with_key(|_, key| match key.state {
            State::PendingDeletion => Err(pending(key)),
            State::Enabled | State::Disabled => Ok((key.id.clone(), key.arn.clone())),
        })?;
        let deletion = self.now + i64::try_from(days).unwrap_or(30) * DAY_SECONDS;
        self.service.keys_mut().change(&id, |key| {
            key.state = State::PendingDeletion;
            key.deletion = Some(deletion);
        })?;
        let state = State::PendingDeletion.name();
        Ok(json!({ "KeyId": arn, "DeletionDate": deletion, "KeyState": state, "PendingWindowInDays": days }))
    }

    pub fn cancel_key_deletion(&mut self) -> Answer<Value> {
        let (id, arn) = self.with_key(|_, key| match key.state {
            State::PendingDeletion => Ok((key.id.clone(), key.arn.clone())),
            State::Enabled | State::Disabled => {
                Err(fail("KMSInvalidStateException", format!("{} is not pending deletion.", key.arn)))
            }
        })?;
        self.service.keys_mut().change(&id, |key| {
            key.state = State::Disabled;
            key.deletion = None;
        })?;
        Ok(json!({ "KeyId": arn }))
    }
}

fn metadata(key: &Key, account: &str) -> Value {
    let mut value = json!({
        "AWSAccountId": account,
        "KeyId": key.id,
        "Arn": key.arn,
        "CreationDate": key.created,
        "Enabled": key.state == State::Enabled,
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": key.state.name(),
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": false,
    });
    if let Some(deletion) = key.deletion {
        value["DeletionDate"] = deletion.into();
    }
    value
}
