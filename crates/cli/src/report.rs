//! What a command found: the mistake or the risk, its place in a file, and a token and a request
//! that prove it. And how that is printed.

use std::{
    fmt::{self, Write},
    ops::Range,
    sync::Arc,
};

use annotate_snippets::{AnnotationKind, Group, Level as Title, Origin, Renderer, Snippet};
use clap::ValueEnum;
use serde_json::{Value, json};

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people, with the lines of the file
    #[default]
    Text,
    /// One JSON object
    Json,
    /// Annotations of GitHub Actions
    Github,
}

/// A file that was read, with the name that the caller gave.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// The name as the caller wrote it.
    pub name: String,
    /// All of it.
    pub text: String,
}

impl File {
    /// The text of a TOML string that is here, without its quotes.
    #[must_use]
    pub fn string(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default().trim_matches(['"', '\''])
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It must be mended. The exit code is 1.
    Error,
    /// It is probably wrong. An error under `--strict`.
    Warning,
    /// It is good to know.
    Note,
}

impl Level {
    /// The word for it, which is also the command of a GitHub annotation, except for a note.
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<File>,
    /// The part as byte offsets.
    pub span: Range<usize>,
    /// What this part has to do with the finding. The first place of a finding needs none.
    pub label: Option<String>,
}

impl Place {
    /// A part without a label.
    #[must_use]
    pub fn new(file: &Arc<File>, span: Range<usize>) -> Self {
        Self { file: Arc::clone(file), span, label: None }
    }

    /// Line and column of the start, counted from 1. The column counts characters.
    #[must_use]
    pub fn start(&self) -> (usize, usize) {
        self.line_and_column(self.span.start)
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.file.text.get(..offset).unwrap_or(&self.file.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        (line, 1 + before.get(line_start..).unwrap_or_default().chars().count())
    }
}

/// `api.yaml:3:5`.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.start();
        write!(formatter, "{}:{line}:{column}", self.file.name)
    }
}

/// A token and a request that prove a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The claims of the token as a JSON object. Claims that every token has can be missing.
    pub claims: String,
    /// `METHOD /path`.
    pub request: String,
    /// The stage of the request.
    pub stage: String,
    /// The id of the request's API.
    pub api: String,
    /// What the rules answer, in words, such as `200` or `was 403, is 200`.
    pub answer: String,
}

/// One thing that a command found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// The stable name of its kind, such as `needless-route`.
    pub kind: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// Where. The first is the place to mend.
    pub places: Vec<Place>,
    /// Reasons and ways out, one line each.
    pub advice: Vec<String>,
    /// The proof.
    pub witness: Option<Witness>,
}

/// What a command prints, and how it ends.
#[derive(Debug)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
    /// The last line of the text, such as `policy.toml: good`.
    pub summary: String,
}

impl Report {
    /// Whether the exit code is 1.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }

    /// Makes errors of the warnings.
    pub fn be_strict(&mut self) {
        for finding in self.findings.iter_mut().filter(|finding| finding.level == Level::Warning) {
            finding.level = Level::Error;
        }
    }

    /// All findings and the summary.
    #[must_use]
    pub fn print(&self, format: Format) -> String {
        let blocks = self.findings.iter();
        match format {
            Format::Text => {
                let mut blocks: Vec<_> = blocks.map(Finding::text).collect();
                blocks.push(self.summary.clone());
                blocks.join("\n\n")
            }
            Format::Json => {
                let findings: Vec<_> = blocks.map(Finding::json).collect();
                let report = json!({ "good": !self.has_errors(), "summary": self.summary, "findings": findings });
                format!("{report:#}")
            }
            Format::Github => {
                let mut lines: Vec<_> = blocks.map(Finding::annotation).collect();
                lines.push(self.summary.clone());
                lines.join("\n")
            }
        }
    }
}

/// The longest line that is shown, in bytes.
const MAX_LINE: usize = 400;

/// The whole lines with all of these parts.
fn lines_of<'s>(file: &File, spans: impl Iterator<Item = &'s Range<usize>> + Clone) -> Range<usize> {
    let first = spans.clone().map(|span| span.start).min().unwrap_or_default().min(file.text.len());
    let last = spans.map(|span| span.end).max().unwrap_or_default().max(first).min(file.text.len());
    let start = file.text.get(..first).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end = file.text.get(last..).and_then(|after| after.find('\n')).map_or(file.text.len(), |at| last + at);
    start..end
}

/// How many errors and warnings there are, in words. `None` if there is neither.
#[must_use]
pub fn count(findings: &[Finding]) -> Option<String> {
    let count = |level, name: &str| {
        let count = findings.iter().filter(|finding| finding.level == level).count();
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {name}{plural}"))
    };
    let counts: Vec<_> =
        [count(Level::Error, "error"), count(Level::Warning, "warning")].into_iter().flatten().collect();
    (!counts.is_empty()).then(|| counts.join(", "))
}

impl Finding {
    /// As a compiler shows it.
    #[must_use]
    pub fn text(&self) -> String {
        let level = match self.level {
            Level::Error => Title::ERROR,
            Level::Warning => Title::WARNING,
            Level::Note => Title::NOTE,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()).id(self.kind));
        let mut files: Vec<&Arc<File>> = self.places.iter().map(|place| &place.file).collect();
        files.dedup();
        for file in files {
            let of_file = self.places.iter().enumerate().filter(|(_, place)| place.file == *file);
            let of_file: Vec<_> = of_file.collect();
            let lines = lines_of(file, of_file.iter().map(|(_, place)| &place.span));
            let shown = file.text.get(lines.clone()).unwrap_or_default();
            let (line, column) = of_file.first().map_or((1, 1), |(_, place)| place.start());
            // A file can be one line, such as JSON that a program wrote.
            if shown.lines().any(|line| line.len() > MAX_LINE) {
                group = group.element(Origin::path(file.name.as_str()).line(line).char_column(column));
                continue;
            }
            let marks = of_file.into_iter().map(|(number, place)| {
                let kind = if number == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let span = place.span.start - lines.start..place.span.end.max(place.span.start) - lines.start;
                kind.span(span).label(place.label.as_deref())
            });
            let line_start = 1 + file.text.get(..lines.start).unwrap_or_default().matches('\n').count();
            let snippet = Snippet::source(shown).path(file.name.as_str()).line_start(line_start);
            group = group.element(snippet.annotations(marks));
        }
        if let Some(witness) = &self.witness {
            group = group.element(Title::NOTE.message(witness.text()));
        }
        for line in &self.advice {
            group = group.element(Title::HELP.message(line.as_str()));
        }
        Renderer::plain().render(&[group])
    }

    fn json(&self) -> Value {
        let place = |place: &Place| {
            let ((line, column), (end_line, end_column)) = (place.start(), place.line_and_column(place.span.end));
            json!({
                "file": place.file.name, "line": line, "column": column,
                "end_line": end_line, "end_column": end_column, "label": place.label,
            })
        };
        let witness = self.witness.as_ref().map(|witness| {
            let claims: Value = serde_json::from_str(&witness.claims).unwrap_or_default();
            json!({
                "claims": claims, "request": witness.request, "stage": witness.stage, "api": witness.api,
                "answer": witness.answer,
            })
        });
        json!({
            "level": self.level.name(), "kind": self.kind, "message": self.message, "advice": self.advice,
            "places": self.places.iter().map(place).collect::<Vec<_>>(), "witness": witness,
        })
    }

    /// Source: GitHub Actions, "Workflow commands".
    fn annotation(&self) -> String {
        let name = if self.level == Level::Note { "notice" } else { self.level.name() };
        let mut line = format!("::{name} title={}", property(self.kind));
        if let Some(place) = self.places.first() {
            let ((start, column), (end, end_column)) = (place.start(), place.line_and_column(place.span.end));
            let file = property(&place.file.name);
            write!(line, ",file={file},line={start},endLine={end}").ok();
            if start == end {
                write!(line, ",col={column},endColumn={end_column}").ok();
            }
        }
        let mut text = vec![self.message.clone()];
        text.extend(self.witness.as_ref().map(Witness::text));
        text.extend(self.advice.iter().cloned());
        line + "::" + &data(&text.join("\n"))
    }
}

impl Witness {
    fn text(&self) -> String {
        format!("a token with {} and {}: {}", self.claims, self.request, self.answer)
    }
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let file = |name: &str, text: &str| Arc::new(File { name: name.to_owned(), text: text.to_owned() });
        let (rules, api) = (file("a,b/policy.toml", "# ü\n[[allow]]\nroutes = ['GET /a']\n"), file("api.json", "{}\n"));
        let route = rules.text.find('\'').unwrap();
        let witness = Witness {
            claims: r#"{"uid":"u1"}"#.to_owned(),
            request: "GET /a".to_owned(),
            stage: "prod".to_owned(),
            api: "abcdef1234".to_owned(),
            answer: "200".to_owned(),
        };
        let finding = Finding {
            level: Level::Warning,
            kind: "some-kind",
            message: "100% wrong".to_owned(),
            places: vec![
                Place::new(&rules, route..route + 8),
                Place { label: Some("this one".to_owned()), ..Place::new(&api, 0..2) },
            ],
            advice: vec!["do this".to_owned()],
            witness: Some(witness),
        };
        let note =
            Finding { level: Level::Note, places: Vec::new(), witness: None, advice: Vec::new(), ..finding.clone() };
        Report { findings: vec![finding, note], summary: "policy.toml: 1 warning".to_owned() }
    }

    #[test]
    fn text_shows_the_lines_and_the_witness() {
        let expected = r#"warning[some-kind]: 100% wrong
 --> a,b/policy.toml:3:11
  |
3 | routes = ['GET /a']
  |           ^^^^^^^^
  |
 ::: api.json:1:1
  |
1 | {}
  | -- this one
  |
  = note: a token with {"uid":"u1"} and GET /a: 200
  = help: do this

note[some-kind]: 100% wrong

policy.toml: 1 warning"#;
        assert_eq!(report().print(Format::Text), expected);
    }

    #[test]
    fn json_has_all_that_text_has() {
        let json: Value = serde_json::from_str(&report().print(Format::Json)).unwrap();
        let expected = json!({
            "good": true,
            "summary": "policy.toml: 1 warning",
            "findings": [
                {
                    "level": "warning", "kind": "some-kind", "message": "100% wrong", "advice": ["do this"],
                    "places": [
                        {
                            "file": "a,b/policy.toml", "line": 3, "column": 11, "end_line": 3, "end_column": 19,
                            "label": null,
                        },
                        {
                            "file": "api.json", "line": 1, "column": 1, "end_line": 1, "end_column": 3,
                            "label": "this one",
                        },
                    ],
                    "witness": {
                        "claims": { "uid": "u1" }, "request": "GET /a", "stage": "prod", "api": "abcdef1234",
                        "answer": "200",
                    },
                },
                { "level": "note", "kind": "some-kind", "message": "100% wrong", "advice": [], "places": [], "witness": null },
            ],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn github_gets_one_escaped_line_for_each_finding() {
        let expected = "::warning title=some-kind,file=a%2Cb/policy.toml,line=3,endLine=3,col=11,endColumn=19::\
                        100%25 wrong%0Aa token with {\"uid\":\"u1\"} and GET /a: 200%0Ado this
::notice title=some-kind::100%25 wrong
policy.toml: 1 warning";
        assert_eq!(report().print(Format::Github), expected);
    }

    #[test]
    fn strict_makes_errors_of_warnings_only() {
        let mut report = report();
        assert!(!report.has_errors());
        report.be_strict();
        let levels: Vec<_> = report.findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Error, Level::Note]);
        assert!(report.has_errors());
        assert_eq!(count(&report.findings).as_deref(), Some("1 error"));
        assert_eq!(count(&[]), None);
    }
}
