//! `tmkms nitro logs`: the enclave's log, which has no other way out.
use super::asking::{self, EnclaveOption, TokenOption};
use crate::failure::{Exit, Failure};
use clap::Args;
use host::control_client::Client;
use std::io::Write;
use std::time::Duration;
use wire::control::{Answer, Request};

/// How long the enclave may take for a line that is there already.
const LIMIT: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
The enclave keeps its last lines in memory and never waits for a reader: what nobody read in time is lost, and counted. Needs \
the control token of the first push.

Examples:
  tmkms nitro logs -i 16
  tmkms nitro logs -i 16 -f";

/// Show the enclave's log
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Logs {
    #[command(flatten)]
    enclave: EnclaveOption,
    #[command(flatten)]
    token: TokenOption,
    /// Go on with each new line, until the enclave ends
    #[arg(short, long)]
    follow: bool,
}

impl Logs {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let token = self.token.read()?;
        let mut client = Client::connect(&self.enclave.target()).map_err(|error| asking::unreachable(&error))?;
        let request = Request::Logs { from: 0, follow: self.follow };
        client.send(&request, Some(&token)).map_err(|error| asking::unreachable(&error))?;
        let limit = (!self.follow).then_some(LIMIT);
        let mut expected = None;
        loop {
            match client.next(limit).map_err(|error| asking::unreachable(&error))? {
                Some(Answer::Log(line)) => {
                    if let Some(lost) = expected.and_then(|next| line.number.checked_sub(next)).filter(|lost| *lost > 0)
                    {
                        writeln!(out, "… {lost} lines are lost …")?;
                    }
                    expected = line.number.checked_add(1);
                    writeln!(out, "{}", asking::plain(&line.text))?;
                    out.flush()?;
                }
                Some(Answer::LogEnd { dropped }) => {
                    if dropped > 0 {
                        writeln!(out, "… {dropped} lines were lost before they could be read …")?;
                    }
                    return Ok(());
                }
                Some(Answer::Failed(failure)) => return Err(asking::failed(&failure)),
                Some(_) => return Err(asking::unexpected()),
                None => {
                    let help = "see whether it still runs: `tmkms nitro status -i CID`";
                    return Err(Failure::new(Exit::Runtime, "the enclave ended the log", help));
                }
            }
        }
    }
}
