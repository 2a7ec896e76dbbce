//! An ordinary process that plays an enclave: `tmkms nitro start` around a simulated security module.
use crate::nsm::{Measurements, SimulatedNsm, TestRoot};
use ceremony::Workshop;
use clap::Args;
use enclave::ceremony::Ceremonies;
use enclave::nsm::Nsm;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tmkms::NitroStart;
use tmkms::failure::{Exit, Failure};

/// Run the signer in a process that plays an enclave, for development only
#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    start: NitroStart,
    /// The folder of the simulated security module's PKI; made if it isn't there
    #[arg(long, value_name = "DIR")]
    nsm_dir: PathBuf,
    /// Play an enclave in debug mode, whose measurements are zeros
    #[arg(long)]
    debug_mode: bool,
    /// A further file that is measured into PCR0: an enclave with another one is another image
    #[arg(long, value_name = "FILE")]
    measure: Option<PathBuf>,
}

impl Start {
    /// Runs it until it is told to end.
    ///
    /// # Errors
    /// As `tmkms nitro start`; the module's folder cannot be used.
    pub fn run(self) -> Result<(), Failure> {
        self.run_as(None)
    }

    /// The same as a ceremony image, which measures as another one.
    ///
    /// # Errors
    /// As [`Start::run`].
    pub fn run_ceremony(self) -> Result<(), Failure> {
        self.run_as(Some(Box::<Workshop>::default()))
    }

    fn run_as(self, ceremonies: Option<Box<dyn Ceremonies>>) -> Result<(), Failure> {
        let nsm = self.module(ceremonies.is_some());
        self.start.run_with(ceremonies, || nsm.map(|nsm| Box::new(nsm) as Box<dyn Nsm>))
    }

    /// PCR0 is measured over what an image would hold: this program and its policy.
    fn module(&self, is_ceremony: bool) -> Result<SimulatedNsm, Failure> {
        let own = std::env::current_exe().map_err(|error| fail("this program", &error))?;
        let named = self.start.policy().into_iter().chain(self.measure.as_deref());
        let mut files = Vec::new();
        for path in std::iter::once(own.as_path()).chain(named) {
            files.push(fs::read(path).map_err(|error| fail(&path.display().to_string(), &error))?);
        }
        if is_ceremony {
            files.push(b"a ceremony's".to_vec());
        }
        let measurements = Measurements::of_files(files.iter().map(Vec::as_slice));
        let measurements = if self.debug_mode { measurements.in_debug_mode() } else { measurements };
        let folder = self.nsm_dir.display().to_string();
        fs::create_dir_all(&self.nsm_dir).map_err(|error| fail(&folder, &error))?;
        let root = TestRoot::load_or_generate(&self.nsm_dir).map_err(|error| fail(&folder, &error))?;
        SimulatedNsm::new(Arc::new(root), measurements).map_err(|error| fail(&folder, &error))
    }
}

fn fail(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Runtime, format!("the simulated security module: {what}: {error}"), "")
}
