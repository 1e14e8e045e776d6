//! The operations of an API: an OpenAPI document, or a SAM or CloudFormation template.

use std::{cmp::Ordering, collections::HashMap, ops::Range, path::Path, ptr, sync::Arc};

use clap::ValueEnum;

use crate::{
    files::{self, Stop},
    report::{File, Finding, Level, Place, Report},
};
use document::Document;

mod document;
pub mod node;
mod openapi;
mod template;

/// The methods of a REST API.
pub const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The operations of one file, in its order.
#[derive(Debug)]
pub struct Api {
    /// The file.
    pub file: Arc<File>,
    /// What can be called.
    pub operations: Vec<Operation>,
    /// What the reader left out or could not know, for example a resource that it cannot see.
    pub notes: Vec<Note>,
    /// The first name of a stage in a template. OpenAPI has none.
    pub stage: Option<String>,
}

/// Something that the reader left out or could not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is, and why, in one line.
    pub message: String,
    /// Where.
    pub place: Place,
}

/// What one method and path leads to.
#[derive(Debug, Clone)]
pub struct Operation {
    /// One of [`METHODS`], or `ANY`.
    pub method: String,
    /// One method, or for `ANY` all those that have no operation of their own on this path.
    pub methods: Vec<&'static str>,
    /// As written, such as `/orders/{id}`, and without a slash at the end. `/` is the root.
    pub path: String,
    /// The parts of the path. The root has none.
    pub segments: Vec<Segment>,
    /// Who decides on a request.
    pub access: Access,
    /// For `init`: alternatives, each with the scopes that it needs all of. Empty if the file names
    /// no scopes.
    pub scopes: Vec<Vec<String>>,
    /// Where it is written. A template can have its paths in another file.
    pub place: Place,
}

/// A part of an operation's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Text that stands for itself.
    Literal(String),
    /// `{name}`: one segment that is not empty.
    Parameter(String),
    /// `{name+}`: one segment or more.
    Proxy(String),
}

/// Who decides on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// This authorizer.
    Authorizer,
    /// Nobody: everyone may call it. The text says why, such as `security` at document level only.
    Open(String),
    /// Something else, such as `AWS_IAM` or a Cognito user pool.
    Other(String),
}

impl Access {
    /// Of several possible ones, which depend on a condition of a template.
    fn under_conditions(choices: Vec<Self>) -> Self {
        let mut choices = choices.into_iter();
        let first = choices.next().unwrap_or_else(|| Self::Open("it has no authorizer".to_owned()));
        choices.fold(first, |all, choice| match (all, choice) {
            (all, choice) if all == choice => all,
            (Self::Open(reason), _) | (_, Self::Open(reason)) if reason.starts_with(CONDITION) => Self::Open(reason),
            (Self::Open(reason), _) | (_, Self::Open(reason)) => Self::Open(format!("{CONDITION}, {reason}")),
            (Self::Other(reason), _) | (_, Self::Other(reason)) => Self::Other(format!("{CONDITION}, {reason}")),
            (all, _) => all,
        })
    }
}

/// How a reason starts that holds only if a condition of the template does.
const CONDITION: &str = "under a condition of the template";

/// What an import into API Gateway makes of the `basePath` of OpenAPI 2.0 and of the path in the
/// first of the `servers` of OpenAPI 3. Source: API Gateway, "Set the OpenAPI `basePath` property".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum BasePath {
    /// It is no part of the paths, as API Gateway does unless it is told otherwise
    #[default]
    Ignore,
    /// All of it is the start of every path
    Prepend,
    /// Its first segment is left out, and the rest is the start of every path
    Split,
}

/// Reads the file, and the OpenAPI files next to it that a template names.
///
/// # Errors
/// If it cannot be read, or has no operation of a REST API.
pub fn read(path: &Path, base_path: BasePath) -> Result<Api, Stop> {
    parse(&files::read(path)?, base_path, &|name| files::read(&files::next_to(path, name)).ok())
}

/// The operations of a file. `load` gives a file that a template names.
///
/// # Errors
/// If it is no file of this kind, or has no operation of a REST API.
pub fn parse(file: &Arc<File>, base_path: BasePath, load: &dyn Fn(&str) -> Option<Arc<File>>) -> Result<Api, Stop> {
    let document = Document::parse(file)?;
    let mut builder = Builder::default();
    if document.is_template() {
        template::read(&document, base_path, load, &mut builder);
    } else {
        openapi::read(&document, base_path, &openapi::Sam::default(), &mut builder);
        builder.end_of_api();
    }
    if let Some((message, place)) = builder.mistake {
        return Err(mistake(message, place));
    }
    let api =
        Api { file: Arc::clone(file), operations: builder.operations, notes: builder.notes, stage: builder.stage };
    if api.operations.is_empty() {
        return Err(api.nothing(document.is_template()));
    }
    Ok(api)
}

fn mistake(message: String, place: Place) -> Stop {
    let summary = format!("{}: 1 error", place.file.name);
    let finding = Finding {
        level: Level::Error,
        kind: "mistake",
        message,
        places: vec![place],
        advice: Vec::new(),
        witness: None,
    };
    Stop::Mistakes(Report { findings: vec![finding], summary })
}

impl Api {
    /// The operation that API Gateway sends this request to. In a path, text comes before a
    /// parameter, and a parameter before `{proxy+}`. The path is chosen before the method, so a
    /// method that the path does not have goes nowhere.
    #[must_use]
    pub fn operation_for(&self, method: &str, path: &str) -> Option<&Operation> {
        let matching = self.operations.iter().filter(|operation| operation.matches_path(path));
        let best = matching.clone().map(Operation::order).min()?;
        matching
            .filter(|operation| operation.order().cmp(&best) == Ordering::Equal)
            .find(|operation| operation.methods.contains(&method))
    }

    /// The operation that API Gateway sends `{METHOD}/{path}` to.
    #[must_use]
    pub fn operation_of(&self, method_and_path: &str) -> Option<&Operation> {
        let (method, path) = method_and_path.split_at(method_and_path.find('/')?);
        self.operation_for(method, path)
    }

    /// Whether API Gateway sends this `{METHOD}/{path}` to this operation of the API.
    #[must_use]
    pub fn leads_to(&self, request: &str, operation: &Operation) -> bool {
        self.operation_of(request).is_some_and(|other| ptr::eq(other, operation))
    }

    /// Why there is no operation.
    fn nothing(self, is_template: bool) -> Stop {
        let expected = if is_template {
            "the template has no operation of a REST API that can be seen; expected an AWS::Serverless::Api, a \
             function's event of type Api, an AWS::ApiGateway::RestApi with a Body, or AWS::ApiGateway::Method"
        } else {
            "the document has no operation of a REST API; expected methods such as `get` under `paths`"
        };
        let note = |note: Note| Finding {
            level: Level::Note,
            kind: "unseen",
            message: note.message,
            places: vec![note.place],
            advice: Vec::new(),
            witness: None,
        };
        let mut findings: Vec<_> = self.notes.into_iter().map(note).collect();
        findings.push(Finding {
            level: Level::Error,
            kind: "mistake",
            message: expected.to_owned(),
            places: vec![Place::new(&self.file, 0..0)],
            advice: Vec::new(),
            witness: None,
        });
        Stop::Mistakes(Report { findings, summary: format!("{}: 1 error", self.file.name) })
    }
}

impl Operation {
    /// `METHOD /path` as written.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether API Gateway can send this request here, if no other operation fits better. The path
    /// is as the caller writes it, without the stage.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str) -> bool {
        self.methods.contains(&method) && self.matches_path(path)
    }

    fn matches_path(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        // One slash at the end leads to the same resource.
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut rest = (!path.is_empty()).then_some(path);
        for segment in &self.segments {
            let Some(path) = rest else { return false };
            let (first, after) = path.split_once('/').map_or((path, None), |(first, after)| (first, Some(after)));
            match segment {
                Segment::Literal(text) if first == text => {}
                Segment::Parameter(_) if !first.is_empty() => {}
                // It takes empty segments too: `//double` is seen in `{proxy+}`.
                Segment::Proxy(_) => return path.bytes().any(|byte| byte != b'/'),
                Segment::Literal(_) | Segment::Parameter(_) => return false,
            }
            rest = after;
        }
        rest.is_none()
    }

    /// The smallest is the best of those that match one path.
    fn order(&self) -> Vec<u8> {
        let order = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Parameter(_) => 1,
            Segment::Proxy(_) => 2,
        };
        self.segments.iter().map(order).collect()
    }
}

/// Collects what the readers of the formats find.
#[derive(Default)]
struct Builder {
    operations: Vec<Operation>,
    notes: Vec<Note>,
    mistake: Option<(String, Place)>,
    stage: Option<String>,
    /// The first operation of the API that is read now.
    start: usize,
}

impl Builder {
    fn note(&mut self, file: &Arc<File>, span: &Range<usize>, message: impl Into<String>) {
        let note = Note { message: message.into(), place: Place::new(file, span.clone()) };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Adds an operation if REST APIs have its method and path.
    fn add(&mut self, method: &str, path: &str, access: Access, scopes: Vec<Vec<String>>, place: Place) {
        let method = method.to_ascii_uppercase();
        let methods = METHODS.iter().copied().filter(|name| *name == method || method == "ANY").collect::<Vec<_>>();
        if methods.is_empty() {
            let message = format!("{method} {path} is left out, because a REST API has no method {method}");
            return self.note(&place.file, &place.span, message);
        }
        match segments(path) {
            Ok(segments) => {
                let path = if segments.is_empty() { "/" } else { path.trim_end_matches('/') }.to_owned();
                self.operations.push(Operation { method, methods, path, segments, access, scopes, place });
            }
            Err(reason) => {
                let message = format!("{method} {path} is left out, because {reason}, and API Gateway refuses that");
                self.note(&place.file, &place.span, message);
            }
        }
    }

    /// Gives each `ANY` its methods, and says what API Gateway refuses about the API as a whole.
    fn end_of_api(&mut self) {
        let operations = self.operations.split_off(self.start);
        let mut own: HashMap<String, Vec<String>> = HashMap::new();
        // The first name of a parameter at each place.
        let mut names: HashMap<String, (String, String)> = HashMap::new();
        for operation in operations {
            let methods = own.entry(operation.path.clone()).or_default();
            if methods.contains(&operation.method) {
                let message = format!("{} is there twice; the first one counts here", operation.name());
                self.note(&operation.place.file, &operation.place.span, message);
                continue;
            }
            methods.push(operation.method.clone());
            self.compare_names(&operation, &mut names);
            self.operations.push(operation);
        }
        for operation in self.operations.iter_mut().skip(self.start).filter(|operation| operation.method == "ANY") {
            let others = own.get(&operation.path).map(Vec::as_slice).unwrap_or_default();
            operation.methods.retain(|method| !others.iter().any(|other| other == method));
        }
        self.start = self.operations.len();
    }

    /// `/a/{x}` and `/a/{y}/b` cannot be in one REST API.
    fn compare_names(&mut self, operation: &Operation, names: &mut HashMap<String, (String, String)>) {
        let mut before = String::new();
        for segment in &operation.segments {
            if let Segment::Parameter(name) = segment {
                let first = names.entry(before.clone()).or_insert_with(|| (name.clone(), operation.path.clone()));
                if first.0 != *name {
                    let message = format!(
                        "API Gateway refuses {{{name}}} in {} next to {{{}}} in {}, because a path parameter has one \
                         name; both are read here",
                        operation.path, first.0, first.1
                    );
                    let is_new = !self.notes.iter().any(|note| note.message == message);
                    if is_new {
                        self.note(&operation.place.file, &operation.place.span, message);
                    }
                }
            }
            before += match segment {
                Segment::Literal(text) => text,
                Segment::Parameter(_) => "{}",
                Segment::Proxy(_) => "{+}",
            };
            before += "/";
        }
    }
}

/// The parts of a path, or what is wrong with it.
fn segments(path: &str) -> Result<Vec<Segment>, String> {
    let rest = path.strip_prefix('/').ok_or("the path does not start with a slash")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<_> = rest.split('/').collect();
    let mut segments = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let segment = match name {
            _ if part.is_empty() => return Err("the path has an empty segment".to_owned()),
            Some("" | "+") => return Err(format!("`{part}` has no name")),
            Some(name) if !name.contains(['{', '}']) => match name.strip_suffix('+') {
                Some(_) if number + 1 < parts.len() => return Err(format!("`{part}` is not the end of the path")),
                Some(name) if name.ends_with('+') => return Err(format!("`{part}` has two plus signs")),
                Some(name) => Segment::Proxy(name.to_owned()),
                None => Segment::Parameter(name.to_owned()),
            },
            _ if part.contains(['{', '}']) => return Err(format!("a parameter is a part of the segment `{part}`")),
            _ if part.contains(['?', '#', ' ']) => return Err(format!("`{part}` has a character that no path has")),
            _ => Segment::Literal((*part).to_owned()),
        };
        segments.push(segment);
    }
    Ok(segments)
}

#[cfg(test)]
mod tests;
