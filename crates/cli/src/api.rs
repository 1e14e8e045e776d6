//! The operations of an API: an OpenAPI document, or a SAM or CloudFormation template.

use std::{ops::Range, rc::Rc};

use crate::report::File;

/// The methods of a REST API.
pub const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The operations of one file, in its order.
#[derive(Debug)]
pub struct Api {
    /// The file.
    pub file: Rc<File>,
    /// What can be called.
    pub operations: Vec<Operation>,
    /// What the reader left out and why, one line each, for example a resource that it cannot see.
    pub notes: Vec<String>,
}

/// What one method and path leads to.
#[derive(Debug, Clone)]
pub struct Operation {
    /// As written: one of [`METHODS`], or `ANY`.
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
    /// The place in the file.
    pub span: Range<usize>,
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

impl Operation {
    /// `METHOD /path` as written.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Reads an API file.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &std::path::Path) -> Result<Api, crate::files::Stop> {
    Err(format!("{}: not yet", path.display()).into())
}
