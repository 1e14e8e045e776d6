//! A file with its tree, and what kind of file it is.

use std::sync::Arc;

use super::{
    mistake,
    node::{self, Node, Value},
};
use crate::{
    files::Stop,
    report::{File, Place},
};

const EXPECTED: &str = "expected an OpenAPI document (2.0, 3.0 or 3.1) or a SAM or CloudFormation template, in JSON or \
                        YAML";
const EXPORT: &str = "aws apigateway get-export --rest-api-id ID --stage-name STAGE --export-type oas30 --parameters \
                      extensions=apigateway api.json";

/// A file with its tree.
pub struct Document {
    /// The file.
    pub file: Arc<File>,
    /// The tree.
    pub root: Node,
}

impl Document {
    /// # Errors
    /// If it is no file of a kind that is read here.
    pub fn parse(file: &Arc<File>) -> Result<Self, Stop> {
        let is_json = file.name.to_ascii_lowercase().ends_with(".json");
        let root = node::parse(&file.text, is_json);
        let is_map = root.as_ref().is_ok_and(|root| matches!(root.value, Value::Map(_)));
        if let Some(kind) = other_text(file).filter(|_| !is_map) {
            return Err(Stop::Unreadable(format!("{}: this is {kind}; {EXPECTED}", file.name)));
        }
        let root = root.map_err(|(reason, span)| mistake(format!("{reason}; {EXPECTED}"), Place::new(file, span)))?;
        let document = Self { file: Arc::clone(file), root };
        match document.other_document() {
            Some(kind) => Err(Stop::Unreadable(format!("{}: {kind}; {EXPECTED}", file.name))),
            None => Ok(document),
        }
    }

    /// Whether it is a SAM or CloudFormation template.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.root.get("Resources").is_some() || self.root.get("AWSTemplateFormatVersion").is_some()
    }

    /// What another document is.
    fn other_document(&self) -> Option<String> {
        let root = &self.root;
        let text = |keys: &[&str]| root.at(keys).and_then(Node::text).unwrap_or_default();
        let version = |key| root.get(key).and_then(Node::text);
        if self.is_template() {
            return None;
        }
        match (version("swagger"), version("openapi")) {
            (Some("2.0" | "2"), _) => return None,
            (Some(version), _) => return Some(format!("this is Swagger {version}")),
            (_, Some(version)) if version.starts_with("3.0") || version.starts_with("3.1") => return None,
            (_, Some(version)) => return Some(format!("this is OpenAPI {version}")),
            (None, None) => {}
        }
        if root.at(&["info", "_postman_id"]).is_some() || text(&["info", "schema"]).contains("getpostman.com") {
            return Some(format!("this is a Postman collection; export the API instead: {EXPORT}"));
        }
        if root.get("asyncapi").is_some() {
            return Some("this is an AsyncAPI document, which has no methods and paths".to_owned());
        }
        if root.get("provider").is_some() && root.get("functions").is_some() {
            let way_out = "run `serverless package` and give .serverless/cloudformation-template-update-stack.json";
            return Some(format!("this is a file of the Serverless Framework; {way_out}"));
        }
        if root.get("resource").is_some() || root.get("terraform_version").is_some() {
            return Some(format!("this is a file of Terraform; export the deployed API instead: {EXPORT}"));
        }
        let reason = match &root.value {
            Value::Map(_) => "the file has none of the keys `openapi`, `swagger` and `Resources`",
            _ => "the file is not a map of keys and values",
        };
        Some(reason.to_owned())
    }
}

/// What a text is that is neither JSON nor YAML.
fn other_text(file: &File) -> Option<&'static str> {
    let text = file.text.trim_start_matches('\u{feff}').trim_start();
    let has_line = |start: &str| text.lines().any(|line| line.trim_start().starts_with(start));
    if text.starts_with("<!") || text.starts_with("<html") || text.starts_with("<?xml") {
        return Some("HTML or XML");
    }
    if text.starts_with("#%RAML") {
        return Some("RAML");
    }
    if has_line("[[allow]]") || has_line("[[deny]]") {
        return Some("a rules file, which belongs to --rules");
    }
    if has_line("[[case]]") || has_line("[[expected]]") {
        return Some("a tests file");
    }
    (has_line("resource \"aws_") || has_line("terraform {")).then_some("a file of Terraform")
}
