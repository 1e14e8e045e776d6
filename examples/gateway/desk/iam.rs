//! What a policy says about one route, by IAM's rules and not by the authorizer's own.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-authorization-flow.html>

use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    ExplicitDeny,
    /// No statement speaks of the route, which is a no.
    ImplicitDeny,
}

/// A policy document as API Gateway reads it. What it would refuse is refused here too.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Document {
    #[serde(rename = "Version")]
    _version: Version,
    statement: Vec<Statement>,
}

#[derive(Clone, Debug, Deserialize)]
enum Version {
    #[serde(rename = "2012-10-17")]
    Of2012,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    effect: Effect,
    action: OneOrMore,
    resource: OneOrMore,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Document {
    pub fn verdict(&self, method_arn: &str) -> Verdict {
        let says = |effect| {
            let mut statements = self.statement.iter().filter(|statement| statement.effect == effect);
            statements.any(|statement| {
                statement.action.any_matches("execute-api:Invoke") && statement.resource.any_matches(method_arn)
            })
        };
        match (says(Effect::Deny), says(Effect::Allow)) {
            (true, _) => Verdict::ExplicitDeny,
            (false, true) => Verdict::Allowed,
            (false, false) => Verdict::ImplicitDeny,
        }
    }
}

impl OneOrMore {
    fn any_matches(&self, text: &str) -> bool {
        match self {
            Self::One(pattern) => matches(pattern, text),
            Self::More(patterns) => patterns.iter().any(|pattern| matches(pattern, text)),
        }
    }
}

/// `*` stands for any characters, `/` among them, and `?` for any one. Requests and ARNs are ASCII.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.as_bytes().split(|&symbol| symbol == b'*');
    let Some(mut rest) = behind(pieces.next().unwrap_or_default(), text.as_bytes()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        // The leftmost place leaves the most for the pieces that follow.
        let found = (0..=rest.len()).find_map(|from| behind(piece, rest.get(from..)?));
        let Some(found) = found else { return false };
        rest = found;
    }
    let end = rest.len().checked_sub(last.len()).and_then(|from| rest.get(from..));
    end.is_some_and(|end| behind(last, end).is_some())
}

/// What follows the piece, where the text begins with it.
fn behind<'t>(piece: &[u8], text: &'t [u8]) -> Option<&'t [u8]> {
    let (start, rest) = text.split_at_checked(piece.len())?;
    let fits = piece.iter().zip(start).all(|(&symbol, &found)| symbol == b'?' || symbol == found);
    fits.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_crosses_slashes_and_a_question_mark_is_one_character() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("*", "", true),
            ("a/*", "a/b/c", true),
            ("a/*", "a", false),
            ("*/../*", "a/b/../c", true),
            ("a?c", "a/c", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("a*a", "a", false),
            ("a**", "a", true),
            ("*?", "", false),
            ("*b?*", "abba", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_explicit_deny_wins_and_silence_is_no_consent() {
        let document: Document = serde_json::from_str(
            r#"{"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": ["a/*"]},
                {"Effect": "Deny", "Action": ["execute-api:*"], "Resource": "a/b"},
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
            ]}"#,
        )
        .unwrap();
        assert_eq!(document.verdict("a/c"), Verdict::Allowed);
        assert_eq!(document.verdict("a/b"), Verdict::ExplicitDeny);
        assert_eq!(document.verdict("b"), Verdict::ImplicitDeny);
    }
}
