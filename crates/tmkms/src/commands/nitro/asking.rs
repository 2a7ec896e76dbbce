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
    /// The enclave: its CID, or unix:PATH for an emulated one
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
    Failure::new(Exit::Runtime, error.to_string(), error.remedy())
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
    let message = match of_chain {
        Some(chain) => format!("the enclave, {}: chain {chain}: {}", phase(failure.phase), failure.reason),
        None => format!("the enclave, {}: {}", phase(failure.phase), failure.reason),
    };
    let remedy = match (failure.code.as_str(), failure.remedy.as_str()) {
        ("token", "") => {
            "the enclave was pushed to with another control token first: use that file (--token-file), or restart the enclave"
        }
        (_, remedy) => remedy,
    };
    Failure::new(exit, message, remedy)
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

/// A text of the enclave on a terminal: its control characters do nothing there.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
