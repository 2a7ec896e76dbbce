//! What the commands that ask an enclave have in common: its address, the control token, and failures in our words.
use crate::failure::{Exit, Failure};
use clap::Args;
use host::control_client::{Client, ClientError, Target};
use host::persist::{DEFAULT_TOKEN_FILE, TokenFile};
use std::path::PathBuf;
use wire::DEFAULT_CONTROL_PORT;
use wire::control::{self, Answer, Phase, Request};
use wire::endpoint::Enclave;
use wire::token::Token;

/// Which enclave.
#[derive(Debug, Args)]
pub struct EnclaveOption {
    /// The enclave: its CID, or CID@FOLDER (emulated), or unix:PATH (a process)
    #[arg(short = 'i', long = "enclave", value_name = "CID")]
    enclave: Enclave,
    /// Its control port: the -p of `tmkms nitro start`
    #[arg(short, long, value_name = "PORT", default_value_t = DEFAULT_CONTROL_PORT, value_parser = clap::value_parser!(u32).range(1..=4_294_967_294))]
    port: u32,
}

impl EnclaveOption {
    pub(super) fn target(&self) -> Target {
        Target { enclave: self.enclave.clone(), port: self.port, software: env!("CARGO_PKG_VERSION") }
    }

    /// Asks one question that has one answer.
    pub(super) fn ask(&self, request: &Request, token: Option<&Token>) -> Result<Answer, Failure> {
        let answer = Client::connect(&self.target()).and_then(|client| client.ask(request, token));
        answer.map_err(|error| unreachable(&error))
    }
}

/// Where the control token is.
#[derive(Debug, Args)]
pub struct TokenOption {
    /// The control token's file, made by the first push
    #[arg(long, value_name = "FILE", env = "TMKMS_TOKEN_FILE", default_value = DEFAULT_TOKEN_FILE, hide_env_values = true)]
    token_file: PathBuf,
}

impl TokenOption {
    pub(super) fn file(&self) -> TokenFile {
        TokenFile::new(self.token_file.clone())
    }

    pub(super) fn read(&self) -> Result<Token, Failure> {
        self.file().read().map_err(|error| Failure::new(Exit::Runtime, error.to_string(), ""))
    }
}

pub(super) fn unreachable(error: &ClientError) -> Failure {
    // What it called itself in its hello may stand in there.
    Failure::new(Exit::Runtime, plain_lines(&error.to_string()), error.remedy())
}

/// The enclave's reason as a command's.
pub(super) fn failed(failure: &control::Failure) -> Failure {
    let exit = match failure.code.as_str() {
        "config" | "policy" => Exit::Configuration,
        "state" => Exit::State,
        "key" | "identity" => Exit::Key,
        _ => Exit::Runtime,
    };
    let of_chain = failure.chain.as_ref().filter(|chain| !failure.reason.contains(chain.as_str()));
    let reason = plain_lines(&failure.reason);
    let message = match of_chain {
        Some(chain) => format!("the enclave, {}: chain {}: {reason}", phase(failure.phase), plain(chain)),
        None => format!("the enclave, {}: {reason}", phase(failure.phase)),
    };
    let remedy = match (failure.code.as_str(), failure.remedy.as_str()) {
        ("token", "") => {
            "the enclave was pushed to with another control token first: use that file (--token-file), or restart the enclave"
        }
        (_, remedy) => remedy,
    };
    Failure::new(exit, message, plain_lines(remedy))
}

pub(super) fn unexpected() -> Failure {
    Failure::new(
        Exit::Runtime,
        "the enclave's answer is none to what it was asked",
        "compare `tmkms version` here and there",
    )
}

pub(super) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Waiting => "waiting",
        Phase::Checking => "checking",
        Phase::Releasing => "releasing",
        Phase::Recovering => "recovering",
        Phase::Serving => "serving",
        Phase::Broken => "broken",
    }
}

/// A text of the enclave on a terminal, in one line: what would act there does nothing.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if acts(c) { '\u{fffd}' } else { c }).collect()
}

/// The same for a text of several lines, whose ends stay.
pub(crate) fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && acts(c) { '\u{fffd}' } else { c }).collect()
}

/// The same for JSON, which says the same with escapes.
pub(crate) fn plain_json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && acts(c) {
            plain.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Control characters, and those that turn the direction of a line (Unicode's Bidi_Control).
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{9b}1m\u{7f}\r\n\u{202e}b\t\u{7}";

    #[test]
    fn nothing_of_the_enclave_acts_on_a_terminal() {
        let cut = |text: &str| text.chars().filter(|c| acts(*c)).collect::<String>();
        assert_eq!((cut(&plain(HOSTILE)).as_str(), cut(&plain_lines(HOSTILE)).as_str()), ("", "\n"));
        let failure = control::Failure {
            phase: Phase::Checking,
            code: "config".to_owned(),
            chain: Some(HOSTILE.to_owned()),
            reason: format!("x{HOSTILE}").replace('a', ""),
            remedy: HOSTILE.to_owned(),
        };
        let told = failed(&failure);
        for problem in &told.problems {
            assert_eq!((cut(&problem.message).as_str(), cut(&problem.help).as_str()), ("\n", "\n"), "{problem:?}");
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "{\n\"a\": \"\u{7f}\u{9b}\u{202e}é\"}";
        let plain = plain_json(text);
        assert_eq!(plain, "{\n\"a\": \"\\u007f\\u009b\\u202eé\"}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&plain), read(text));
    }
}
