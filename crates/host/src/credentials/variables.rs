//! The environment's variables, or a test's.
use super::Secret;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Where variables are looked up. No `Debug`: some are secrets.
pub struct Variables(Source);

enum Source {
    Process,
    Given(Vec<(String, Secret)>),
}

impl Variables {
    /// Those of this process.
    #[must_use]
    pub const fn of_process() -> Self {
        Self(Source::Process)
    }

    /// Others.
    #[must_use]
    pub fn given(pairs: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), Zeroizing::new((*value).to_owned()));
        Self(Source::Given(pairs.iter().map(own).collect()))
    }

    /// A variable; an empty one is as none, as in AWS's own tools.
    pub(super) fn get(&self, name: &str) -> Option<Secret> {
        let found = match &self.0 {
            Source::Process => std::env::var(name).ok().map(Zeroizing::new),
            Source::Given(pairs) => pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()),
        };
        found.filter(|value| !value.is_empty())
    }

    /// A file that a variable names, else one in the home folder.
    pub(super) fn file(&self, name: &str, in_home: &str) -> Option<PathBuf> {
        match self.get(name) {
            Some(path) => Some(PathBuf::from(path.as_str())),
            None => self.get("HOME").map(|home| PathBuf::from(home.as_str()).join(in_home)),
        }
    }
}
