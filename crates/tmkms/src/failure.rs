//! Why a command did not do its work: what is wrong, what to do about it, and the exit code.
#[cfg(feature = "host")]
use crate::config::LoadError;
#[cfg(feature = "host")]
use crate::permissions::{self, Readers};
use std::io;

/// The exit codes, as `tmkms --help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Something failed while running: a network, a disk, another process.
    Runtime = 1,
    /// The command line is wrong (clap's own code too).
    Usage = 2,
    /// The configuration is wrong.
    Configuration = 3,
    /// A signing state is missing, damaged, locked, or would be lowered.
    State = 4,
    /// A key is missing, unreadable, or not the expected one.
    Key = 5,
    /// `nitro doctor` has found an error. It may be of any kind above, and of none; the command itself did its work.
    Unwell = 6,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, with the setting or file and both values.
    pub message: String,
    /// The remedy; empty where the message says it all.
    pub help: String,
}

/// A command's failure: one exit code, and everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong, in the order in which it was found.
    pub problems: Vec<Problem>,
}

impl Failure {
    /// A failure with one cause and its remedy.
    pub fn new(exit: Exit, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { exit, problems: vec![Problem { message: message.into(), help: help.into() }] }
    }

    /// Joins failures; the lowest of their codes that is not `Runtime` names the first thing to repair.
    #[must_use]
    pub fn all(failures: Vec<Self>) -> Option<Self> {
        let exit = failures.iter().map(|failure| failure.exit).filter(|exit| *exit != Exit::Runtime).min();
        let exit = exit.or_else(|| failures.first().map(|failure| failure.exit))?;
        Some(Self { exit, problems: failures.into_iter().flat_map(|failure| failure.problems).collect() })
    }
}

#[cfg(feature = "host")]
impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let problems = match &error {
            LoadError::Unreadable { path, kind, .. } => {
                let help = match kind {
                    io::ErrorKind::PermissionDenied => permissions::help(path, Readers::Anybody),
                    io::ErrorKind::NotFound => {
                        "name the file with -c FILE or TMKMS_CONFIG_FILE, or make one with `tmkms init PATH`".to_owned()
                    }
                    _ => "name the configuration's file with -c FILE or TMKMS_CONFIG_FILE".to_owned(),
                };
                vec![Problem { message: error.to_string(), help }]
            }
            LoadError::Faulty(faults) => faults
                .list
                .iter()
                .map(|fault| Problem {
                    message: format!("{}:{}: {}", faults.path.display(), fault.place, fault.message),
                    help: fault.help.clone(),
                })
                .collect(),
            LoadError::Misplaced(files) => files
                .iter()
                .map(|file| Problem {
                    message: file.to_string(),
                    help: "relative paths are relative to the configuration file (tmkms: to the working directory); move the \
                           file, or write its absolute path"
                        .to_owned(),
                })
                .collect(),
        };
        Self { exit: Exit::Configuration, problems }
    }
}

/// Writing a command's output failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Runtime, format!("cannot write the output: {error}"), "")
    }
}
