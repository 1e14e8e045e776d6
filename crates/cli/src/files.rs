//! Reads what the caller named, and says what cannot be read.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use okta_authorizer_policy::{Rules, RulesErrors};

use crate::report::{File, Finding, Level, Place, Report, count};

/// Why a command could not do its work. The exit code is 2.
#[derive(Debug)]
pub enum Stop {
    /// A file or an argument cannot be read. One line.
    Unreadable(String),
    /// A file has mistakes.
    Mistakes(Report),
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Unreadable(reason)
    }
}

/// A line for each mistake: `api.yaml:3:5: the mistake`.
impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = match self {
            Self::Unreadable(reason) => return formatter.write_str(reason),
            Self::Mistakes(report) => report,
        };
        let mistakes = report.findings.iter().filter(|finding| finding.level == Level::Error);
        let lines = mistakes.map(|mistake| match mistake.places.first() {
            Some(place) => format!("{place}: {}", mistake.message),
            None => mistake.message.clone(),
        });
        formatter.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

/// A file of UTF-8.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> Result<Arc<File>, Stop> {
    text(&path.display().to_string(), fs::read(path))
}

/// The path of a file in the folder of another one.
#[must_use]
pub fn next_to(path: &Path, name: &str) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(name)
}

/// Standard input.
///
/// # Errors
/// If it cannot be read.
pub fn read_stdin() -> Result<Arc<File>, Stop> {
    let mut bytes = Vec::new();
    let read = io::stdin().read_to_end(&mut bytes);
    text("standard input", read.map(|_| bytes))
}

fn text(name: &str, read: io::Result<Vec<u8>>) -> Result<Arc<File>, Stop> {
    let bytes = read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{name}: there is no such file"),
        io::ErrorKind::IsADirectory => format!("{name}: this is a folder; expected a file"),
        io::ErrorKind::PermissionDenied => format!("{name}: this file may not be read"),
        // The text without ` (os error 36)`.
        _ => format!("{name}: {}", error.to_string().split(" (os error").next().unwrap_or_default()),
    })?;
    let text = Rules::text(bytes).map_err(|errors| {
        let reasons: Vec<_> = errors.0.into_iter().map(|error| error.reason).collect();
        format!("{name}: {}", reasons.join("; "))
    })?;
    Ok(Arc::new(File { name: name.to_owned(), text }))
}

/// The rules of a file.
///
/// # Errors
/// All mistakes in it, or that it cannot be read.
pub fn rules(path: &Path) -> Result<(Rules, Arc<File>), Stop> {
    let file = read(path)?;
    match Rules::parse(&file.text) {
        Ok(rules) => Ok((rules, file)),
        Err(errors) => Err(Stop::Mistakes(mistakes(&file, &errors))),
    }
}

/// The mistakes of a rules file.
fn mistakes(file: &Arc<File>, errors: &RulesErrors) -> Report {
    let finding = |error: &okta_authorizer_policy::RulesError| Finding {
        level: Level::Error,
        kind: "mistake",
        message: error.reason.clone(),
        places: vec![Place::new(file, error.span.clone())],
        advice: Vec::new(),
        witness: None,
    };
    let findings: Vec<_> = errors.0.iter().map(finding).collect();
    let summary = format!("{}: {}", file.name, count(&findings).unwrap_or_default());
    Report { findings, summary }
}
