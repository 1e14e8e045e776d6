//! IAM as AWS describes it, written without a look at the authorizer's own.

use aws_lambda_events::event::iam::IamPolicyEffect;
use okta_authorizer::policy::Document;

use crate::second_reading::METHODS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Allow,
    ExplicitDeny,
    ImplicitDeny,
}

/// `*` is any run of characters, slashes included; `?` any one character.
pub fn matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some(('*', [])), _) => true,
        (Some(('*', rest)), _) => (0..=text.len()).any(|taken| matches(rest, &text[taken..])),
        (Some((wanted, rest)), Some((found, left))) => (*wanted == '?' || wanted == found) && matches(rest, left),
        (Some(_), None) => false,
    }
}

/// A policy, its resources read once.
pub struct Policy(Vec<(IamPolicyEffect, Vec<char>)>);

impl Policy {
    pub fn of(document: &Document) -> Self {
        let document = document.parsed().unwrap();
        let resources = document.statement.iter().flat_map(|statement| {
            statement.resource.iter().map(|resource| (statement.effect.clone(), resource.chars().collect()))
        });
        Self(resources.collect())
    }

    pub fn answer(&self, arn: &str) -> Answer {
        let arn: Vec<char> = arn.chars().collect();
        let says = |wanted: IamPolicyEffect| {
            self.0.iter().any(|(effect, resource)| *effect == wanted && matches(resource, &arn))
        };
        if says(IamPolicyEffect::Deny) {
            Answer::ExplicitDeny
        } else if says(IamPolicyEffect::Allow) {
            Answer::Allow
        } else {
            Answer::ImplicitDeny
        }
    }
}

/// The tails of what a document allows on `stage`.
pub fn allowed(document: &Document, stage: &str) -> Vec<String> {
    let document = document.parsed().unwrap();
    let statements = document.statement.iter().filter(|statement| statement.effect == IamPolicyEffect::Allow);
    let resources = statements.flat_map(|statement| &statement.resource);
    resources.map(|resource| resource.strip_prefix(stage).unwrap().strip_prefix('/').unwrap().to_owned()).collect()
}

/// What holds for every policy, whatever it is about.
pub fn assert_well_formed(document: &Document, stage: &str, max_bytes: usize) {
    assert!(document.json().len() <= max_bytes, "{document:?} is over {max_bytes} bytes");
    let allowed = allowed(document, stage);
    let document = document.parsed().unwrap();
    assert_eq!(document.version.as_deref(), Some("2012-10-17"));
    assert!(!document.statement.is_empty());
    for statement in &document.statement {
        assert_eq!(statement.action, ["execute-api:Invoke"]);
        assert!(statement.condition.is_none());
        assert!(!statement.resource.is_empty());
        for resource in &statement.resource {
            let tail = resource.strip_prefix(stage).and_then(|tail| tail.strip_prefix('/'));
            assert!(tail.is_some_and(|tail| !tail.is_empty()), "{resource} is not on {stage}");
            assert!(resource.chars().count() <= 512, "{resource} is too long");
            assert!(!resource.contains("${"), "{resource} has a variable");
        }
    }
    let allows = document.statement.iter().filter(|statement| statement.effect == IamPolicyEffect::Allow);
    assert!(allows.count() <= 1, "{document:?} has several Allow statements");
    assert!(allowed.is_sorted_by(|a, b| a < b), "{allowed:?} is not sorted, or names something twice");
    for tail in allowed {
        let (method, path) = tail.split_once('/').unwrap();
        assert!(METHODS.contains(&method), "{tail} has no method");
        let fixed = path.strip_suffix('*').filter(|fixed| fixed.is_empty() || fixed.ends_with('/')).unwrap_or(path);
        assert!(!fixed.contains(['*', '?', '$', ' ']), "{tail} has a wildcard in its midst");
    }
}
