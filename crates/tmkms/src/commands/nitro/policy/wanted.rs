//! What a key policy is made from, checked as a whole. Pure: nothing here asks AWS, or reads a file.
use super::principal::Principal;
use super::statement::{Statement, policy_text};
use super::statements;
use crate::failure::{Exit, Failure, Problem};
use crate::measurements::Register;

/// More than an upgrade has; each one that stands in the policy may have the key.
const MAX_IMAGES: usize = 4;
/// AWS's limit for a key policy.
const MAX_POLICY_BYTES: usize = 32 * 1024;

/// The image that makes keys inside an enclave, and who may run it.
#[derive(Clone, Debug)]
pub(super) struct Ceremony {
    pub image: Register,
    pub role: Principal,
    /// Whether keys are encrypted under data keys alone (`keygen --method data-key`), so that nobody needs kms:Encrypt.
    pub data_keys_only: bool,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The signer's images: one, or two while one replaces the other.
    pub images: Vec<Register>,
    /// Who may have the key released to them.
    pub roles: Vec<Principal>,
    /// Who may change the policy.
    pub admins: Vec<Principal>,
    pub ceremony: Option<Ceremony>,
    /// The one instance whose enclaves may have the key.
    pub instance: Option<Register>,
}

impl Wanted {
    /// The policy's statements.
    ///
    /// # Errors
    /// Everything in it that no good policy has.
    pub(super) fn statements(&self) -> Result<Vec<Statement>, Failure> {
        let mut problems = Vec::new();
        self.check_images(&mut problems);
        self.check_principals(&mut problems);
        if !problems.is_empty() {
            return Err(Failure { exit: Exit::Usage, problems });
        }
        let statements = statements::of(self);
        let length = policy_text(&statements).len();
        if length > MAX_POLICY_BYTES {
            let message = format!("the policy: expected at most {MAX_POLICY_BYTES} bytes, got {length}");
            return Err(Failure::new(Exit::Usage, message, "name fewer roles and administrators"));
        }
        Ok(statements)
    }

    /// Every image that the policy lets have something.
    pub(super) fn known_images(&self) -> Vec<Register> {
        self.images.iter().chain(self.ceremony.as_ref().map(|ceremony| &ceremony.image)).cloned().collect()
    }

    fn check_images(&self, problems: &mut Vec<Problem>) {
        let mut say = |message: String, help: &str| problems.push(Problem { message, help: help.to_owned() });
        let count = self.images.len();
        if count > MAX_IMAGES {
            say(
                format!("--measurements: expected at most {MAX_IMAGES} files, got {count}"),
                "each image that stands in the policy may have the key: name the one that signs, and the one that will",
            );
        }
        let twice = (1..count).find(|at| self.images[..*at].contains(&self.images[*at]));
        if let Some(at) = twice {
            say(
                format!("--measurements: expected another image in each file, got PCR0 {} twice", self.images[at]),
                "give each image once; if the new one measures as the old one, they are the same image, and the policy can stay",
            );
        }
        let ceremony = self.ceremony.as_ref().filter(|ceremony| self.images.contains(&ceremony.image));
        if let Some(ceremony) = ceremony {
            say(
                format!(
                    "--ceremony-measurements: expected another image than the signer's, got the same PCR0 {}",
                    ceremony.image
                ),
                "an image that signs must not be able to send keys out: the ceremony has an image of its own",
            );
        }
        if self.instance.as_ref().is_some_and(Register::is_zero) {
            say(
                "--pcr4: expected the hash of the instance's id, got zeros".to_owned(),
                "zeros are what an enclave in debug mode measures: compute PCR4 as `--help` says",
            );
        }
    }

    fn check_principals(&self, problems: &mut Vec<Problem>) {
        let mut say = |message: String, help: &str| problems.push(Problem { message, help: help.to_owned() });
        let ceremony = self.ceremony.as_ref().map(|ceremony| &ceremony.role);
        let uses = self.roles.iter().map(|role| ("--role", role)).chain(ceremony.map(|role| ("--ceremony-role", role)));
        for (option, role) in uses {
            if let Some(admin) = self.admins.iter().find(|admin| admin.is_same(role)) {
                say(
                    format!("{option} {role} and --admin {admin}: expected two, got one"),
                    "who may have the key released must not be able to change to whom it is released: name an administrator who does nothing else",
                );
            }
        }
        let all: Vec<&Principal> = self.roles.iter().chain(&self.admins).chain(ceremony).collect();
        let first = all.first().map_or("", |who| who.partition());
        if let Some(other) = all.iter().find(|who| who.partition() != first) {
            let message = format!("{other}: expected the partition {first} of the others, got {}", other.partition());
            say(message, "a key's policy names principals of its own partition alone");
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn image(byte: u8) -> Register {
        Register(vec![byte; 48])
    }

    pub(in super::super) fn principal(name: &str) -> Principal {
        format!("arn:aws:iam::111122223333:{name}").parse().unwrap()
    }

    pub(in super::super) fn plain() -> Wanted {
        Wanted {
            images: vec![image(0xab)],
            roles: vec![principal("role/validator")],
            admins: vec![principal("role/break-glass")],
            ceremony: None,
            instance: None,
        }
    }

    /// Two images, two roles, two administrators, a ceremony, one instance.
    pub(in super::super) fn full() -> Wanted {
        Wanted {
            images: vec![image(0xab), image(0xcd)],
            roles: vec![principal("role/validator"), principal("role/spare")],
            admins: vec![principal("role/break-glass"), principal("user/ann")],
            ceremony: Some(Ceremony { image: image(0xce), role: principal("role/ceremony"), data_keys_only: false }),
            instance: Some(image(0x04)),
        }
    }

    fn refused(wanted: &Wanted) -> String {
        let failure = wanted.statements().unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.problems.iter().all(|problem| !problem.help.is_empty()));
        failure.problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_same_image_twice_too_many_images_and_a_ceremony_with_the_signers_image_are_refused() {
        let text = refused(&Wanted { images: vec![image(1), image(2), image(1)], ..plain() });
        assert!(text.contains(&format!("got PCR0 {} twice", "01".repeat(48))), "{text}");
        let text = refused(&Wanted { images: (1..6).map(image).collect(), ..plain() });
        assert!(text.contains("at most 4 files, got 5"), "{text}");
        let ceremony = Some(Ceremony { image: image(0xab), role: principal("role/ceremony"), data_keys_only: false });
        let text = refused(&Wanted { ceremony, ..plain() });
        assert!(text.contains("expected another image than the signer's, got the same PCR0 abab"), "{text}");
        let text = refused(&Wanted { instance: Some(image(0)), ..plain() });
        assert!(text.contains("--pcr4: expected the hash of the instance's id, got zeros"), "{text}");
    }

    #[test]
    fn an_administrator_who_could_decrypt_is_refused_whatever_the_path_of_his_role() {
        let text = refused(&Wanted { admins: vec![principal("role/ops/Validator")], ..plain() });
        assert!(text.contains("--role arn:aws:iam::111122223333:role/validator and --admin arn"), "{text}");
        let mut wanted = full();
        wanted.admins.push(principal("role/ceremony"));
        assert!(refused(&wanted).starts_with("--ceremony-role arn:aws:iam::111122223333:role/ceremony and --admin"));
        wanted.admins = vec!["arn:aws-cn:iam::111122223333:role/break-glass".parse().unwrap()];
        assert!(refused(&wanted).contains("expected the partition aws of the others, got aws-cn"));
        wanted.admins = (0..700).map(|number| principal(&format!("role/administrator-{number}"))).collect();
        assert!(refused(&wanted).contains("expected at most 32768 bytes, got "));
    }
}
