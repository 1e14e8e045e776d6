//! IAM as the gateway applies it, written from AWS's pages and not from the program under test.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use serde_json::{Map, Value};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What a policy says about one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Allowed,
    ExplicitDeny,
    /// Nothing said. API Gateway refuses this too, unless the API has a resource policy that allows it.
    ImplicitDeny,
}

/// A policy document that keeps the promises of design 2.
#[derive(Debug, PartialEq)]
pub struct Policy {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
    /// The document's compact JSON, in bytes.
    pub size: usize,
}

impl Policy {
    /// The policy of an authorizer's `response` for `method_arn`. Panics where the document breaks a promise that holds for
    /// every policy.
    pub fn of(response: &Value, method_arn: &str) -> Self {
        assert!(!holds_null(response), "null in {response}");
        only(response, &["principalId", "policyDocument", "context", "usageIdentifierKey"]);
        assert!(response["principalId"].is_string(), "{response}");
        assert!(response.get("context").is_none_or(is_flat), "API Gateway takes no other context: {response}");
        let document = &response["policyDocument"];
        only(document, &["Version", "Statement"]);
        assert_eq!(document["Version"], "2012-10-17");

        let mut policy = Self { allow: Vec::new(), deny: Vec::new(), size: document.to_string().len() };
        for (index, statement) in document["Statement"].as_array().unwrap().iter().enumerate() {
            only(statement, &["Effect", "Action", "Resource"]);
            assert_eq!(strings(&statement["Action"]), ["execute-api:Invoke"], "{statement}");
            let resources = strings(&statement["Resource"]);
            assert!(!resources.is_empty(), "an empty Resource: {statement}");
            match statement["Effect"].as_str().unwrap() {
                "Allow" => {
                    assert_eq!(index, 0, "one Allow, and it comes first: {document}");
                    policy.allow = resources;
                }
                "Deny" => policy.deny.extend(resources),
                effect => panic!("{effect}"),
            }
        }
        policy.check(method_arn);
        policy
    }

    pub fn verdict(&self, method_arn: &str) -> Verdict {
        let covers = |resources: &[String]| resources.iter().any(|resource| matches(resource, method_arn));
        match (covers(&self.deny), covers(&self.allow)) {
            (true, _) => Verdict::ExplicitDeny,
            (false, true) => Verdict::Allowed,
            (false, false) => Verdict::ImplicitDeny,
        }
    }

    pub fn allows(&self, method_arn: &str) -> bool {
        self.verdict(method_arn) == Verdict::Allowed
    }

    fn check(&self, method_arn: &str) {
        let stage: String = method_arn.split_inclusive('/').take(2).collect();
        assert!(self.allow.is_sorted_by(|a, b| a < b), "sorted, no duplicates: {:#?}", self.allow);
        for resource in self.allow.iter().chain(&self.deny) {
            assert!(resource.len() <= 512, "too long for IAM: {resource}");
            assert!(resource.starts_with(&stage), "not of this API and stage: {resource}");
        }
        for resource in &self.allow {
            let (method, path) = resource[stage.len()..].split_once('/').unwrap();
            assert!(METHODS.contains(&method), "{resource}");
            let wildcards = path.matches(['*', '?', '$']).count();
            assert!(wildcards == 0 || (wildcards == 1 && (path == "*" || path.ends_with("/*"))), "{resource}");
        }
        // Where IAM has no room for the name of what was asked, no Deny can hold it.
        let sayable = method_arn.len() <= 512;
        let silent = self.verdict(method_arn) == Verdict::ImplicitDeny;
        assert!(!(sayable && silent), "silent about {method_arn}: {self:#?}");
        if self.allow.is_empty() {
            assert!(self.deny.contains(&format!("{stage}*")), "granted nothing: {self:#?}");
        }
    }
}

fn only(object: &Value, members: &[&str]) {
    let object: &Map<_, _> = object.as_object().unwrap();
    assert!(object.keys().all(|name| members.contains(&name.as_str())), "an unknown member in {object:?}");
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(members) => members.values().any(holds_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_flat(context: &Value) -> bool {
    context.as_object().is_some_and(|members| members.values().all(Value::is_string))
}

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
        _ => panic!("neither a string nor a list: {value}"),
    }
}

/// `*` stands for any characters and `/` among them, `?` for any one byte. Case counts.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not match: one byte more to the star.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&symbol) if symbol == b'?' || symbol == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else { return false };
                retry = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|&symbol| symbol == b'*')
}

#[test]
fn a_star_crosses_slashes_and_a_question_mark_is_one_character() {
    assert!(matches("a/*", "a/b/c"));
    assert!(matches("a/*", "a/"));
    assert!(matches("*/../*", "x/y/../z"));
    assert!(matches("a?c", "a/c"));
    assert!(!matches("a/*", "a"));
    assert!(!matches("a?c", "ac"));
    assert!(!matches("a", "A"));
}

#[test]
fn an_explicit_deny_wins_and_silence_is_no_consent() {
    let policy = Policy { allow: vec!["a/*".into()], deny: vec!["a/b".into()], size: 0 };
    assert_eq!(policy.verdict("a/c"), Verdict::Allowed);
    assert_eq!(policy.verdict("a/b"), Verdict::ExplicitDeny);
    assert_eq!(policy.verdict("b"), Verdict::ImplicitDeny);
}
