//! Parses and checks a rules file such as `policy.toml`: each combination of claim values that
//! matches `when` grants `routes`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use serde::{Deserialize, Serialize, Serializer};
use toml::{Spanned, Value};

use crate::{pattern::Pattern, route::Route, work::MAX_RULES_BYTES};

/// The rules of one file, all checked. Each list begins with the rules that combine values of few
/// claims, so that they are evaluated before the rules that can need most work.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) allow: Vec<Rule>,
    pub(super) deny: Vec<Rule>,
}

/// What is wrong with a rules file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RulesError {
    /// The line, counted from 1.
    pub line: u32,
    /// The place in the file as byte offsets.
    pub span: Range<usize>,
    /// What was wrong and what is accepted. It has no line break.
    pub reason: String,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// `[[allow]]`
    Allow,
    /// `[[deny]]`
    Deny,
}

/// The name of a rule: its place in the file. As text, `allow[2]:15` is the second `[[allow]]`, and
/// it begins on line 15. Serializes as this text. Of two rules with one effect, the first in the
/// file is the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName {
    /// Whether the rule allows or denies.
    pub effect: Effect,
    /// Which of the rules with this effect it is, counted from 1.
    pub number: u32,
    /// The line of its `[[allow]]` or `[[deny]]`, counted from 1.
    pub line: u32,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        };
        write!(f, "{effect}[{}]:{}", self.number, self.line)
    }
}

impl Serialize for RuleName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) name: RuleName,
    pub(super) when: Vec<Condition>,
    pub(super) routes: Vec<Route>,
    /// How many resources the routes have with one value for each capture.
    pub(super) resource_count: usize,
    /// The captures that occur in a route. The others only have to match.
    pub(super) route_captures: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) claim: String,
    /// Patterns that bind the same captures. Never empty.
    pub(super) any_of: Vec<Pattern>,
}

impl RulesError {
    /// Removes line breaks, because `reason` quotes the file.
    fn new(toml: &str, span: Range<usize>, reason: &str) -> Self {
        Self { line: line_of(toml, span.start), span, reason: reason.replace(char::is_control, " ") }
    }
}

impl Rules {
    /// Parses and checks a rules file.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(toml: &str) -> Result<Self, RulesError> {
        if toml.len() > MAX_RULES_BYTES {
            let reason = format!("the file has {} bytes; at most {MAX_RULES_BYTES} are accepted", toml.len());
            return Err(RulesError::new(toml, 0..0, &reason));
        }
        let file: RawRules = toml::from_str(toml)
            .map_err(|error| RulesError::new(toml, error.span().unwrap_or_default(), error.message()))?;
        if file.allow.is_empty() {
            return Err(RulesError::new(toml, 0..0, "no [[allow]] rule; nobody could call anything"));
        }
        let rules = |effect, raw: Vec<Spanned<RawRule>>| -> Result<Vec<Rule>, RulesError> {
            let rules = (1..).zip(raw).map(|(number, rule)| Rule::from_raw(effect, number, rule, toml));
            let mut rules = rules.collect::<Result<Vec<_>, _>>()?;
            rules.sort_by_key(Rule::combined_claims);
            Ok(rules)
        };
        Ok(Self { allow: rules(Effect::Allow, file.allow)?, deny: rules(Effect::Deny, file.deny)? })
    }
}

impl Rule {
    /// How many claims have captures.
    fn combined_claims(&self) -> usize {
        self.when.iter().filter(|condition| condition.captures().next().is_some()).count()
    }

    fn from_raw(effect: Effect, number: u32, raw: Spanned<RawRule>, toml: &str) -> Result<Self, RulesError> {
        let span = raw.span();
        let raw = raw.into_inner();
        let error = |span: &Range<usize>, reason: String| RulesError::new(toml, span.clone(), &reason);
        let mut when = Vec::new();
        for (claim, values) in raw.when.iter().flat_map(BTreeMap::iter) {
            let condition = Condition::from_raw(claim, values.get_ref());
            when.push(condition.map_err(|reason| error(&values.span(), format!("`when.{claim}` {reason}")))?);
        }
        if raw.when.is_some() && when.is_empty() {
            return Err(error(&span, "`when` names no claim; leave it out to mean any valid token".to_owned()));
        }
        let mut captures = BTreeSet::new();
        for capture in when.iter().flat_map(Condition::captures) {
            if !captures.insert(capture) {
                return Err(error(
                    &span,
                    format!("`{{{capture}}}` is captured from two claims; a capture is bound once"),
                ));
            }
        }
        if raw.routes.is_empty() {
            return Err(error(&span, "`routes` is empty; expected one `METHOD /path` or more".to_owned()));
        }
        let mut routes = Vec::new();
        for text in &raw.routes {
            let route_error = |reason: String| error(&text.span(), format!("the route `{}` {reason}", text.get_ref()));
            let route = Route::parse(text.get_ref()).map_err(|reason| route_error(reason.to_string()))?;
            if let Some(unknown) = route.captures().find(|capture| !captures.contains(capture)) {
                return Err(route_error(format!("uses `{{{unknown}}}`, which no pattern in `when` captures")));
            }
            routes.push(route);
        }
        let route_captures = routes.iter().flat_map(Route::captures).map(str::to_owned).collect();
        let name = RuleName { effect, number, line: line_of(toml, span.start) };
        let resource_count = routes.iter().map(|route| route.methods().len()).sum();
        Ok(Self { name, when, routes, resource_count, route_captures })
    }
}

impl Condition {
    fn from_raw(claim: &str, value: &Value) -> Result<Self, String> {
        let expected = "expected a string or an array of strings";
        let texts = match value {
            Value::String(text) => vec![text.as_str()],
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().ok_or(format!("holds something else; {expected}")))
                .collect::<Result<_, _>>()?,
            other => return Err(format!("is of type {}; {expected}", other.type_str())),
        };
        let any_of: Vec<_> = texts
            .iter()
            .map(|text| Pattern::parse(text).map_err(|error| format!("pattern `{text}` {error}")))
            .collect::<Result<_, _>>()?;
        let Some(first) = any_of.first() else { return Err(format!("is an empty list; {expected}")) };
        let captures: BTreeSet<_> = first.captures().collect();
        if any_of.iter().any(|pattern| pattern.captures().collect::<BTreeSet<_>>() != captures) {
            return Err("lists patterns with different captures; each must bind the same ones".to_owned());
        }
        Ok(Self { claim: claim.to_owned(), any_of })
    }

    /// All patterns of the list bind the same captures, so those of the first one are enough.
    fn captures(&self) -> impl Iterator<Item = &str> {
        self.any_of.iter().take(1).flat_map(Pattern::captures)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    #[serde(default)]
    allow: Vec<Spanned<RawRule>>,
    #[serde(default)]
    deny: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    when: Option<BTreeMap<String, Spanned<Value>>>,
    routes: Vec<Spanned<String>>,
}

fn line_of(text: &str, offset: usize) -> u32 {
    text.bytes().take(offset).fold(1, |line, byte| line + u32::from(byte == b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_is_wrong_and_where() {
        let whole = "[[allow]]\nroutes = ['GET /a']\n";
        for (toml, line, reason) in [
            ("", 1, "no [[allow]] rule; nobody could call anything"),
            ("[[deny]]\nroutes = ['GET /a']", 1, "no [[allow]] rule; nobody could call anything"),
            ("[[allow]]\nroutes = []", 1, "`routes` is empty; expected one `METHOD /path` or more"),
            ("\n[[allow]]\nwhen = { uid = 'x' }", 2, "missing field `routes`"),
            ("[[allow]]\nroute = ['GET /a']", 2, "unknown field `route`, expected `when` or `routes`"),
            ("[[alow]]\nroutes = ['GET /a']", 1, "unknown field `alow`, expected `allow` or `deny`"),
            (
                "[[allow]]\nroutes = [\n  'GET /a',\n  'FETCH /b',\n]",
                4,
                "the route `FETCH /b` has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY",
            ),
            (
                "[[allow]]\nroutes = ['GET /{x}']",
                2,
                "the route `GET /{x}` uses `{x}`, which no pattern in `when` captures",
            ),
            (
                "[[allow]]\nwhen = {}\nroutes = ['GET /a']",
                1,
                "`when` names no claim; leave it out to mean any valid token",
            ),
            (
                "[[allow]]\nwhen = { uid = 7 }\nroutes = ['GET /a']",
                2,
                "`when.uid` is of type integer; expected a string or an array of strings",
            ),
            (
                "[[allow]]\nwhen = { uid = [] }\nroutes = ['GET /a']",
                2,
                "`when.uid` is an empty list; expected a string or an array of strings",
            ),
            (
                "[[allow]]\nwhen = { uid = ['a', 7] }\nroutes = ['GET /a']",
                2,
                "`when.uid` holds something else; expected a string or an array of strings",
            ),
            (
                "[[allow]]\nwhen = { uid = ['a', '{x}'] }\nroutes = ['GET /a']",
                2,
                "`when.uid` lists patterns with different captures; each must bind the same ones",
            ),
            (
                "[[allow]]\nwhen = { a = '{x}', b = '{x}' }\nroutes = ['GET /{x}']",
                1,
                "`{x}` is captured from two claims; a capture is bound once",
            ),
            (
                "[[allow]]\nwhen = { a = '{x' }\nroutes = ['GET /a']",
                2,
                "`when.a` pattern `{x` has a brace that is not closed or not opened; expected text and {capture}s",
            ),
        ] {
            let error = Rules::parse(toml).unwrap_err();
            assert_eq!((error.line, error.reason.as_str()), (line, reason), "{toml}");
            assert!(Rules::parse(whole).is_ok());
        }
    }

    #[test]
    fn a_file_has_100_kib_at_most() {
        let good = "[[allow]]\nroutes = ['GET /a']\n#";
        let padded = |bytes: usize| good.to_owned() + &"x".repeat(bytes - good.len());
        assert!(Rules::parse(&padded(102_400)).is_ok());
        let error = Rules::parse(&padded(102_401)).unwrap_err();
        assert_eq!(error.to_string(), "line 1: the file has 102401 bytes; at most 102400 are accepted");
    }

    #[test]
    fn a_rule_is_named_by_its_place() {
        let rule = |effect| format!("# x\n[[{effect}]]\nroutes = ['GET /a']\n");
        let rules = Rules::parse(&["allow", "deny", "allow", "deny"].map(rule).concat()).unwrap();
        let names = |rules: &[Rule]| rules.iter().map(|rule| rule.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&rules.allow), ["allow[1]:2", "allow[2]:8"]);
        assert_eq!(names(&rules.deny), ["deny[1]:5", "deny[2]:11"]);
        assert_eq!(serde_json::to_string(&rules.deny[1].name).unwrap(), "\"deny[2]:11\"");
        assert!(rules.allow[0].name < rules.allow[1].name);
    }

    #[test]
    fn an_error_is_on_a_line_of_the_bad_rule() {
        const GOOD: [&str; 8] = [
            "# rules",
            "[[allow]]",
            "routes = ['GET /apps', 'GET /apps/*', 'GET /']",
            "",
            "[[allow]]",
            "when   = { groups = 'team-{team}', uid = '{uid}' }",
            "routes = ['GET /teams/{team}/x', 'ANY /users/{uid}/*']",
            "# end",
        ];
        assert!(Rules::parse(&GOOD.join("\n")).is_ok());
        for (line, text, lines) in [
            (5, "[[allow]", 5..=6),
            (5, "[[permit]]", 5..=7),
            (5, "[allow]", 5..=5),
            (8, "nonsense", 8..=8),
            (8, "version = 1", 5..=8),
            (8, "Routes = []", 5..=8),
            (8, "when = { x = 'y' }", 6..=8),
            (6, "when = { groups = 'team-{team}', uid = '{uid}' ", 6..=7),
            (6, "when = { groups = { a = '{team}' }, uid = '{uid}' }", 5..=7),
            (6, "when = 'everyone'", 5..=7),
            (6, "when = { groups = '{team}{uid}' }", 5..=7),
            (6, "when = { groups = 'team-team}', uid = '{uid}' }", 5..=7),
            (6, "when = { groups = 'team-{}', uid = '{uid}' }", 5..=7),
            (6, "when = { groups = 'team-{team}' }", 5..=7),
            (6, "", 5..=7),
            (6, "if = { groups = 'team-{team}', uid = '{uid}' }", 5..=7),
            (7, "", 5..=7),
            (7, "routes = 'GET /x'", 5..=7),
            (7, "routes = [5]", 5..=7),
            (7, "routes = ['GET /x', 'GET /x/{nobody}']", 7..=7),
            (7, "routes = ['GET /x'", 5..=8),
            (7, "routes = [\"GET /a\\nb\"]", 7..=7),
        ] {
            let mut toml = GOOD;
            toml[line - 1] = text;
            let error = Rules::parse(&toml.join("\n")).unwrap_err();
            assert!(lines.contains(&error.line) && !error.reason.contains('\n'), "{text}: {error}");
        }
    }
}
