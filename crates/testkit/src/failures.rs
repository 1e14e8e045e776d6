//! Failed checks, collected so that one run shows all of them.

use futures_util::{StreamExt, stream};

/// The failed checks of a table of cases.
#[derive(Default)]
pub struct Failures(Vec<String>);

impl Failures {
    /// Records `description` if the check does not hold.
    pub fn check(&mut self, holds: bool, description: impl FnOnce() -> String) {
        if !holds {
            self.0.push(description());
        }
    }

    /// Runs cases four at a time. Most of them wait for a timeout. If all ran at once, the table
    /// could miss its time limit of 500 ms.
    pub async fn run(cases: impl IntoIterator<Item = impl Future<Output = Self>>) -> Self {
        let failures: Vec<Self> = stream::iter(cases).buffer_unordered(4).collect().await;
        Self(failures.into_iter().flat_map(|case| case.0).collect())
    }

    /// Panics with all failures, if there are any.
    pub fn report(self) {
        assert!(self.0.is_empty(), "{} failed:\n{}", self.0.len(), self.0.join("\n"));
    }
}
