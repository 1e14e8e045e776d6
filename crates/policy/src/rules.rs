//! Parses and checks a rules file such as `policy.toml`: for every way the claims match `when`, a
//! rule grants `routes`. `docs/rules.md` is the language.

use std::{collections::BTreeSet, fmt, ops::Range};

use serde::{Serialize, Serializer};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    claims::ClaimName,
    method_arn::MethodArn,
    pattern::Pattern,
    route::{Route, RouteError},
    work::MAX_RULES_BYTES,
};

/// The rules of one file, all checked. Each list begins with the rules that combine values of few
/// claims, so that they are evaluated before the rules that can need most work.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) allow: Vec<Rule>,
    pub(super) deny: Vec<Rule>,
}

/// A mistake in a rules file, and where it is.
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

/// All mistakes in a rules file, in its order. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesErrors(pub Vec<RulesError>);

impl fmt::Display for RulesErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RulesErrors {}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// `[[allow]]`
    Allow,
    /// `[[deny]]`
    Deny,
}

/// The name of a rule. As text and serialized: its `name`, or else `line 15`. Of two rules, the
/// first in the file is the smaller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName {
    /// The line of its `[[allow]]` or `[[deny]]`, counted from 1.
    pub line: u32,
    /// Whether the rule allows or denies.
    pub effect: Effect,
    /// The `name` in the file.
    pub name: Option<String>,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "line {}", self.line),
        }
    }
}

impl Serialize for RuleName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, line and effect.
    pub name: RuleName,
    /// The APIs of the rule. Empty means every one.
    pub apis: Vec<String>,
    /// The stages of the rule. Empty means every one.
    pub stages: Vec<String>,
    /// What the claims must be. All of these must hold.
    pub when: Vec<Condition>,
    /// What it grants or denies, sorted.
    pub routes: Vec<Route>,
    /// The captures that occur in a route, in the order in which `when` binds them. The routes name
    /// them by their place in this list.
    pub route_captures: Vec<String>,
    /// The place of the rule's `[[allow]]` or `[[deny]]` in the file.
    pub span: Range<usize>,
    /// The place of each string in `routes`.
    pub route_spans: Vec<Range<usize>>,
    /// Whether a capture is in several conditions.
    pub(super) has_shared_captures: bool,
}

/// A condition on one claim.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The name as it is written.
    pub claim: String,
    /// The same name, read.
    pub claim_name: ClaimName,
    /// What its values must be.
    pub test: Test,
}

/// What the values of a claim must be.
#[derive(Debug, Clone)]
pub enum Test {
    /// A value matches one of these patterns. They bind the same captures. Never empty. The list says
    /// for each capture, in the order of their names, what it is needed for.
    AnyOf(Vec<Pattern>, Vec<Use>),
    /// The claim is there, or is not there.
    Present(bool),
}

/// What a captured value is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It only has to match.
    Nothing,
    /// It must agree with another condition.
    Agreement,
    /// It is in a route.
    Route,
}

impl Rules {
    /// Parses and checks a rules file.
    ///
    /// # Errors
    /// All mistakes, each with its place.
    pub fn parse(toml: &str) -> Result<Self, RulesErrors> {
        let mut reader = Reader { toml, errors: Vec::new(), names: BTreeSet::new(), lines: BTreeSet::new() };
        let rules = reader.rules();
        if reader.errors.is_empty() {
            return Ok(rules);
        }
        reader.errors.sort_by_key(|error| error.span.start);
        Err(RulesErrors(reader.errors))
    }

    /// All rules in the order of the file.
    #[must_use]
    pub fn in_file_order(&self) -> Vec<&Rule> {
        let mut rules: Vec<_> = self.allow.iter().chain(&self.deny).collect();
        rules.sort_by_key(|rule| &rule.name);
        rules
    }

    /// The text of a rules file.
    ///
    /// # Errors
    /// If it is not UTF-8. Then it says which encoding it is, if that can be seen.
    pub fn text(bytes: Vec<u8>) -> Result<String, RulesErrors> {
        // A byte order mark, or an ASCII character in two bytes.
        let is_utf_16 = [&[0xff, 0xfe][..], &[0xfe, 0xff]].iter().any(|mark| bytes.starts_with(mark))
            || matches!(bytes.as_slice(), [0, 1..=255, ..] | [1..=255, 0, ..]);
        let reason = if is_utf_16 {
            "the file is UTF-16, as PowerShell writes it; save it as UTF-8 (in PowerShell: Out-File -Encoding utf8)"
        } else {
            "the file is not UTF-8; save it as UTF-8"
        };
        let error = || RulesErrors(vec![RulesError { line: 1, span: 0..0, reason: reason.to_owned() }]);
        if is_utf_16 { Err(error()) } else { String::from_utf8(bytes).map_err(|_| error()) }
    }
}

impl Rule {
    /// How many conditions have captures.
    fn combined_conditions(&self) -> usize {
        self.when.iter().filter(|condition| condition.captures().next().is_some()).count()
    }

    /// Whether the rule is for the API of this request.
    pub(super) fn is_for_api(&self, requested: &MethodArn) -> bool {
        self.apis.is_empty() || self.apis.iter().any(|api| api == requested.api())
    }

    /// Whether the rule is for the stage of this request.
    pub(super) fn is_for_stage(&self, requested: &MethodArn) -> bool {
        self.stages.is_empty() || self.stages.iter().any(|stage| stage == requested.stage())
    }
}

impl Condition {
    /// All patterns of a list bind the same captures, so those of the first one are enough.
    fn captures(&self) -> impl Iterator<Item = &str> {
        let first = match &self.test {
            Test::AnyOf(patterns, _) => patterns.first(),
            Test::Present(_) => None,
        };
        first.into_iter().flat_map(Pattern::captures)
    }
}

/// The most mistakes that are reported. A file with more is hardly a rules file.
const MAX_ERRORS: usize = 100;

/// The most captures of one rule, counted in each condition. The work for a way grows with their
/// square.
const MAX_CAPTURES: usize = 32;

/// A value in the file, with its place.
type Item<'t> = Spanned<DeValue<'t>>;

/// Reads a file, and collects the mistakes. A part with a mistake is left out of the result, so
/// that the rest is checked too.
struct Reader<'t> {
    toml: &'t str,
    errors: Vec<RulesError>,
    /// The names of the rules so far.
    names: BTreeSet<String>,
    /// The lines of the rules so far.
    lines: BTreeSet<u32>,
}

impl<'t> Reader<'t> {
    /// Notes a mistake. `reason` quotes the file, so control characters are removed.
    fn error(&mut self, span: Range<usize>, reason: &str) {
        if self.errors.len() > MAX_ERRORS {
            return;
        }
        let is_last = self.errors.len() == MAX_ERRORS;
        let reason = if is_last { "there are more mistakes; mend these first" } else { reason };
        let line = line_of(self.toml, span.start);
        self.errors.push(RulesError { line, span, reason: reason.replace(char::is_control, " ") });
    }

    fn rules(&mut self) -> Rules {
        let mut rules = Rules { allow: Vec::new(), deny: Vec::new() };
        if self.toml.len() > MAX_RULES_BYTES {
            let bytes = self.toml.len();
            self.error(0..0, &format!("the file has {bytes} bytes; at most {MAX_RULES_BYTES} are accepted"));
            return rules;
        }
        let (file, syntax_errors) = DeTable::parse_recoverable(self.toml);
        for error in syntax_errors.iter().take(MAX_ERRORS) {
            self.syntax_error(error);
        }
        if !syntax_errors.is_empty() {
            return rules;
        }
        let mut has_allow = false;
        for (key, item) in file.get_ref() {
            let (effect, list) = match key.get_ref().as_ref() {
                "allow" => (Effect::Allow, &mut rules.allow),
                "deny" => (Effect::Deny, &mut rules.deny),
                other => {
                    self.error(key.span(), &format!("unknown key `{other}`; {}", instead_of_key_of_file(other)));
                    continue;
                }
            };
            has_allow |= effect == Effect::Allow;
            let name = key.get_ref();
            match item.get_ref() {
                DeValue::Array(items) => {
                    for item in items {
                        match item.get_ref() {
                            DeValue::Table(table) => list.extend(self.rule(effect, &item.span(), table)),
                            other => {
                                let found = other.type_str();
                                self.error(item.span(), &format!("expected a [[{name}]] rule, found {}", a(found)));
                            }
                        }
                    }
                    has_allow &= effect != Effect::Allow || !items.is_empty();
                    list.sort_by_key(Rule::combined_conditions);
                }
                DeValue::Table(table) => {
                    let reason = format!("`[{name}]` has one bracket too few; a rule begins with [[{name}]]");
                    self.error(key.span(), &reason);
                    self.rule(effect, &item.span(), table);
                }
                other => {
                    let found = other.type_str();
                    self.error(item.span(), &format!("expected [[{name}]] rules, found {}", a(found)));
                }
            }
        }
        if !has_allow && self.errors.is_empty() {
            self.error(0..0, "no [[allow]] rule; nobody could call anything");
        }
        rules
    }

    /// Notes a mistake in the TOML itself. One for each line is enough, because the others follow
    /// from it.
    fn syntax_error(&mut self, error: &toml::de::Error) {
        let mut span = error.span().unwrap_or_default();
        let line = line_of(self.toml, span.start);
        if self.errors.iter().any(|earlier| earlier.line == line) {
            return;
        }
        let text = self.toml.lines().nth(line as usize - 1).unwrap_or_default();
        let reason = match (unquoted_capture(text), error.message()) {
            (Some(value), _) => {
                let line_start =
                    self.toml.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
                let start = line_start + text.find(value).unwrap_or_default();
                span = start..start + value.len();
                format!("a value is in quotes; write \"{value}\" instead of {value}")
            }
            (None, "duplicate key") => repeated_key(text),
            (None, message) => instead_of_line(self.toml, text).unwrap_or_else(|| message.to_owned()),
        };
        self.error(span, &reason);
    }

    fn rule(&mut self, effect: Effect, span: &Range<usize>, table: &DeTable<'t>) -> Option<Rule> {
        let errors_before = self.errors.len();
        let line = line_of(self.toml, span.start);
        if !self.lines.insert(line) {
            self.error(span.clone(), "two rules begin on this line; write each of them as [[allow]] or [[deny]]");
        }
        let (mut name, mut apis, mut stages) = (None, Vec::new(), Vec::new());
        let (mut when, mut routes) = (Vec::new(), None);
        for (key, item) in table {
            match key.get_ref().as_ref() {
                "name" => name = self.name(item),
                "api" => apis = self.names(item, "api", "ids of APIs, such as \"a1b2c3d4e5\"", is_api_id),
                "stage" => stages = self.names(item, "stage", "names of stages, such as \"prod\"", is_stage_name),
                "when" => when = self.when(item),
                "routes" => routes = Some(item),
                other => {
                    self.error(key.span(), &format!("unknown key `{other}`; {}", instead_of_key_of_rule(other)));
                }
            }
        }
        // Without the captures of a condition that is wrong, its routes would look wrong too.
        let when_is_good = self.errors.len() == errors_before;
        let sorted = |condition| Condition::captures(condition).collect::<BTreeSet<_>>();
        let captures: Vec<&str> = when.iter().flat_map(sorted).collect();
        if captures.len() > MAX_CAPTURES {
            let reason = format!("the rule has {} captures; at most {MAX_CAPTURES} are accepted", captures.len());
            self.error(span.clone(), &reason);
        }
        let mut shared_captures: BTreeSet<String> = BTreeSet::new();
        let mut route_captures: Vec<String> = Vec::new();
        let texts = if let Some(item) = routes {
            self.route_texts(item)
        } else {
            self.error(span.clone(), "the rule has no `routes`; expected one `METHOD /path` or more");
            Vec::new()
        };
        let is_in_routes = |capture: &str| {
            let written = format!("{{{capture}}}");
            texts.iter().any(|(text, _)| text.contains(&written))
        };
        for (number, capture) in captures.iter().enumerate() {
            let is_first = captures.iter().position(|other| other == capture) == Some(number);
            if !is_first {
                shared_captures.insert((*capture).to_owned());
            } else if is_in_routes(capture) {
                route_captures.push((*capture).to_owned());
            }
        }
        let known: Vec<&str> =
            if when_is_good { route_captures.iter().map(String::as_str).collect() } else { Vec::new() };
        let mut routes = Vec::new();
        let mut route_spans = Vec::new();
        for (text, span) in texts {
            route_spans.push(span.clone());
            match Route::parse(text, &known, &stages, route_spans.len() - 1) {
                Ok(of_each_method) => routes.extend(of_each_method),
                Err(RouteError::UnknownCapture(_)) if !when_is_good => {}
                Err(error) => self.error(span, &format!("the route `{text}` {error}")),
            }
        }
        if effect == Effect::Deny {
            // A denial must hold for both spellings of a path.
            let other_ends: Vec<_> = routes.iter().filter_map(Route::other_end).collect();
            routes.extend(other_ends);
        }
        let name = RuleName { line, effect, name };
        let has_shared_captures = !shared_captures.is_empty();
        let use_of = |capture: &str| match capture {
            _ if route_captures.iter().any(|other| other == capture) => Use::Route,
            _ if shared_captures.contains(capture) => Use::Agreement,
            _ => Use::Nothing,
        };
        for condition in &mut when {
            let uses: Vec<_> = condition.captures().collect::<BTreeSet<_>>().into_iter().map(use_of).collect();
            if let Test::AnyOf(_, all) = &mut condition.test {
                *all = uses;
            }
        }
        // In this order, most of the policy's resources are sorted when they are made.
        routes.sort();
        let rule = Rule {
            name,
            apis,
            stages,
            when,
            routes,
            route_captures,
            span: span.clone(),
            route_spans,
            has_shared_captures,
        };
        (self.errors.len() == errors_before).then_some(rule)
    }

    fn name(&mut self, item: &Item<'t>) -> Option<String> {
        const ACCEPTED: &str =
            "1 to 64 printable characters of ASCII without `\"` and `\\`, and not `line` with a number";
        let Some(name) = item.get_ref().as_str() else {
            let found = a(item.get_ref().type_str());
            self.error(item.span(), &format!("`name` is {found}; expected a string"));
            return None;
        };
        let is_like_a_line =
            name.strip_prefix("line ").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_digit()));
        // It goes into the log line, which is bounded, as it is.
        let has_odd = name.contains(|c: char| !(' '..='~').contains(&c) || c == '"' || c == '\\');
        if name.trim().is_empty() || name.len() > 64 || has_odd || is_like_a_line {
            self.error(item.span(), &format!("the name `{name}` cannot be used; expected {ACCEPTED}"));
        } else if !self.names.insert(name.to_owned()) {
            self.error(
                item.span(),
                &format!("the name `{name}` is used twice; the log could not tell the rules apart"),
            );
        }
        Some(name.to_owned())
    }

    /// A string or an array of strings, none of them wrong.
    fn names(&mut self, item: &Item<'t>, key: &str, accepted: &str, is_good: fn(&str) -> bool) -> Vec<String> {
        let mut names = Vec::new();
        for (text, span) in self.texts(item, &format!("`{key}`"), accepted) {
            if is_good(text) {
                names.push(text.to_owned());
            } else {
                self.error(span, &format!("`{key}` has `{text}`; expected {accepted}, compared whole"));
            }
        }
        names
    }

    /// The texts of a string or of an array of strings. An empty array is a mistake.
    fn texts<'i>(&mut self, item: &'i Item<'t>, what: &str, expected: &str) -> Vec<(&'i str, Range<usize>)> {
        let items = match item.get_ref() {
            DeValue::String(text) => return vec![(text.as_ref(), item.span())],
            DeValue::Array(items) => items,
            other => {
                self.error(item.span(), &format!("{what} is {}; expected {expected}", a(other.type_str())));
                return Vec::new();
            }
        };
        if items.is_empty() {
            self.error(item.span(), &format!("{what} is an empty list; expected {expected}"));
        }
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => texts.push((text.as_ref(), item.span())),
                other => {
                    self.error(item.span(), &format!("{what} has {}; expected {expected}", a(other.type_str())));
                }
            }
        }
        texts
    }

    fn route_texts<'i>(&mut self, item: &'i Item<'t>) -> Vec<(&'i str, Range<usize>)> {
        if let DeValue::String(text) = item.get_ref() {
            self.error(item.span(), &format!("`routes` is a string; write a list: routes = [\"{text}\"]"));
            return Vec::new();
        }
        self.texts(item, "`routes`", "a list of `METHOD /path`")
    }

    fn when(&mut self, item: &Item<'t>) -> Vec<Condition> {
        let DeValue::Table(table) = item.get_ref() else {
            let found = a(item.get_ref().type_str());
            let way_out = match item.get_ref() {
                DeValue::Array(_) => "; all of its claims must match, and an alternative is a rule of its own",
                _ => "",
            };
            let expected = "expected claims, such as { groups = \"STAFF\" }";
            self.error(item.span(), &format!("`when` is {found}; {expected}{way_out}"));
            return Vec::new();
        };
        if table.is_empty() {
            self.error(item.span(), "`when` names no claim; leave it out to mean any valid token");
        }
        let mut when = Vec::new();
        for (key, item) in table {
            let claim = key.get_ref().as_ref();
            match ClaimName::parse(claim) {
                Ok(claim_name) => {
                    let tests = self.tests(claim, item);
                    let condition = |test| Condition { claim: claim.to_owned(), claim_name: claim_name.clone(), test };
                    when.extend(tests.into_iter().map(condition));
                }
                Err(error) => self.error(key.span(), &format!("the claim `{claim}` {error}")),
            }
        }
        when
    }

    /// What `when` says about one claim. Several tests must all hold.
    fn tests(&mut self, claim: &str, item: &Item<'t>) -> Vec<Test> {
        let what = format!("`when.{claim}`");
        let DeValue::Table(table) = item.get_ref() else {
            let errors_before = self.errors.len();
            let patterns = self.patterns(claim, item);
            if self.errors.len() == errors_before {
                self.check_same_captures(&what, item.span(), &patterns);
            }
            return if patterns.is_empty() { Vec::new() } else { vec![Test::AnyOf(patterns, Vec::new())] };
        };
        let mut entries = table.iter();
        let (Some((key, inner)), None) = (entries.next(), entries.next()) else {
            self.error(item.span(), &format!("{what} expects one of {{ all = […] }} and {{ present = … }}"));
            return Vec::new();
        };
        match (key.get_ref().as_ref(), inner.get_ref()) {
            ("all", DeValue::Array(_)) => {
                self.patterns(claim, inner).into_iter().map(|pattern| Test::AnyOf(vec![pattern], Vec::new())).collect()
            }
            ("all", other) => {
                let found = a(other.type_str());
                self.error(inner.span(), &format!("{what} `all` is {found}; expected a list of patterns"));
                Vec::new()
            }
            ("present", DeValue::Boolean(present)) => vec![Test::Present(*present)],
            ("present", other) => {
                let found = a(other.type_str());
                self.error(inner.span(), &format!("{what} `present` is {found}; expected true or false"));
                Vec::new()
            }
            ("any", _) => {
                self.error(
                    key.span(),
                    &format!("{what} has `any`; a list means any of them: {claim} = [\"A\", \"B\"]"),
                );
                Vec::new()
            }
            ("not", _) => {
                self.error(key.span(), &format!("{what} has `not`; write a [[deny]] rule for what is not allowed"));
                Vec::new()
            }
            (other, _) => {
                let reason = format!(
                    "{what} has `{other}`; expected a pattern, a list, {{ all = […] }} or {{ present = … }}; a claim inside of a claim is \"/{claim}/{other}\""
                );
                self.error(key.span(), &reason);
                Vec::new()
            }
        }
    }

    fn patterns(&mut self, claim: &str, item: &Item<'t>) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        let as_text = match item.get_ref() {
            DeValue::Boolean(boolean) => Some(boolean.to_string()),
            DeValue::Integer(integer) => Some(integer.to_string()),
            DeValue::Float(float) => Some(float.to_string()),
            _ => None,
        };
        if let Some(text) = as_text {
            let found = a(item.get_ref().type_str());
            self.error(item.span(), &format!("`when.{claim}` is {found}; write it as text: \"{text}\""));
            return patterns;
        }
        let expected = "a string or a list of strings; a number or a boolean is written as text, such as \"5\"";
        for (text, span) in self.texts(item, &format!("`when.{claim}`"), expected) {
            match Pattern::parse(text) {
                Ok(_) if claim == "scopes" && text.contains(char::is_whitespace) => {
                    self.error(span, &format!("`when.scopes` pattern `{text}` has white space, and no scope has any"));
                }
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.error(span, &format!("`when.{claim}` pattern `{text}` {error}")),
            }
        }
        patterns
    }

    fn check_same_captures(&mut self, what: &str, span: Range<usize>, patterns: &[Pattern]) {
        let mut sets = patterns.iter().map(|pattern| pattern.captures().collect::<BTreeSet<_>>());
        let first = sets.next();
        if sets.any(|set| Some(set) != first) {
            self.error(span, &format!("{what} lists patterns with different captures; write a rule for each"));
        }
    }
}

/// A TOML type with its article.
fn a(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {type_name}")
}

/// An API's id. AWS makes it.
fn is_api_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Source: API Gateway API reference, `CreateStage`.
fn is_stage_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What to do about a key that a line repeats.
fn repeated_key(line: &str) -> String {
    let key = line.trim_start_matches([' ', '\t', '{', '[']);
    let key = key.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    match key {
        "allow" | "deny" => format!("`[{key}]` has one bracket too few; a rule begins with [[{key}]]"),
        "routes" | "stage" | "api" | "name" => format!("`{key}` is there twice; write it once"),
        _ => "a name is there twice; if all of several values of a claim are needed, write { all = [\"A\", \"B\"] }"
            .to_owned(),
    }
}

/// What to write instead of a key of the file.
fn instead_of_key_of_file(key: &str) -> &'static str {
    match key.to_ascii_lowercase().as_str() {
        "allow" | "allows" | "permit" => "write [[allow]]",
        "deny" | "denies" | "forbid" => "write [[deny]]",
        "case" | "expected" => {
            "a tests file has it, and this is read as a rules file, with [[allow]] and [[deny]] rules"
        }
        "routes" | "when" | "stage" | "api" | "name" => "it belongs under an [[allow]] or a [[deny]]",
        _ => "a file has [[allow]] and [[deny]] rules",
    }
}

/// What to write instead of a key of a rule.
fn instead_of_key_of_rule(key: &str) -> &'static str {
    match key.to_ascii_lowercase().as_str() {
        "route" | "routes" | "path" | "paths" | "resource" | "resources" => "write `routes`",
        "when" | "if" | "claim" | "claims" | "condition" | "conditions" => "write `when`",
        "stage" | "stages" => "write `stage`",
        "api" | "apis" => "write `api`",
        "name" | "id" | "description" => "write `name`",
        "effect" => "a rule's effect is how it begins: [[allow]] or [[deny]]",
        "method" | "methods" => "the method is a part of the route, such as \"GET /orders\"",
        "scopes" | "groups" | "uid" | "cid" => "a claim is in `when`, such as when = { groups = \"STAFF\" }",
        _ => "a rule has `routes`, `when`, `stage`, `api`, `name`",
    }
}

/// What to write instead of a line that is not TOML, if it is clear what it should be.
fn instead_of_line(toml: &str, line: &str) -> Option<String> {
    let line = line.trim();
    let key = line.split(':').next().unwrap_or_default().trim_matches([' ', '"']);
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if toml.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        Some("this is JSON; a rules file is TOML, such as docs/rules.md shows it".to_owned())
    } else if line.starts_with("//") || line.starts_with("/*") {
        Some("a comment begins with `#`".to_owned())
    } else if line.contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}']) {
        Some("the line has typographic quotes; write straight ones, such as \"GET /orders\"".to_owned())
    } else if is_key && line.contains(':') {
        Some(format!("a key has `=` after it: {key} = …"))
    } else {
        None
    }
}

/// A `{capture}` as the whole value in a line, without quotes.
fn unquoted_capture(line: &str) -> Option<&str> {
    line.match_indices('{').find_map(|(start, _)| {
        let before = line.get(..start)?.trim_end();
        let rest = line.get(start + 1..)?;
        let end = rest.find('}')?;
        let name = rest.get(..end)?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_name && before.ends_with(['=', '[', ','])).then(|| line.get(start..start + end + 2))?
    })
}

fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().fold(1, |line, byte| line + u32::from(*byte == b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::RoutePiece;

    #[test]
    fn rules_can_be_read_with_their_places() {
        let toml = "[[deny]]\nwhen = { uid = '{uid}' }\nroutes = ['GET /b', \"GET /a/{uid}/*\"]\n
[[allow]]\nroutes = ['PUT /c']\n";
        let rules = Rules::parse(toml).unwrap();
        let in_order = rules.in_file_order();
        assert_eq!(in_order.iter().map(|rule| rule.name.line).collect::<Vec<_>>(), [1, 5]);
        let text = |span: &Range<usize>| toml.get(span.clone()).unwrap();
        assert_eq!(in_order.iter().map(|rule| text(&rule.span)).collect::<Vec<_>>(), ["[[deny]]", "[[allow]]"]);
        let [deny, allow] = in_order[..] else { panic!("{in_order:?}") };
        assert_eq!(deny.route_spans.iter().map(text).collect::<Vec<_>>(), ["'GET /b'", "\"GET /a/{uid}/*\""]);
        let literal = |text: &str| RoutePiece::Literal(text.to_owned());
        let routes: Vec<_> = deny.routes.iter().map(|route| (route.written(), route.pieces())).collect();
        let with_capture = [literal("GET/a/"), RoutePiece::Capture(0), literal("/*")];
        // The denial of a path is also of the path with a slash at its end.
        let expected = [(1, &with_capture[..]), (0, &[literal("GET/b")]), (0, &[literal("GET/b/")])];
        assert_eq!(routes, expected);
        assert_eq!(allow.routes.iter().map(Route::written).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn keys_and_lines_of_other_languages_are_said_with_what_to_write() {
        let rule = |line: &str| error(&format!("[[allow]]\nroutes = ['GET /a']\n{line}\n")).reason;
        let no_hint = "a rule has `routes`, `when`, `stage`, `api`, `name`";
        for (key, hint) in [
            ("Routes", "write `routes`"),
            ("paths", "write `routes`"),
            ("When", "write `when`"),
            ("conditions", "write `when`"),
            ("stages", "write `stage`"),
            ("apis", "write `api`"),
            ("description", "write `name`"),
            ("effect", "a rule's effect is how it begins: [[allow]] or [[deny]]"),
            ("method", "the method is a part of the route, such as \"GET /orders\""),
            ("groups", "a claim is in `when`, such as when = { groups = \"STAFF\" }"),
            ("color", no_hint),
        ] {
            assert_eq!(rule(&format!("{key} = 'x'")), format!("unknown key `{key}`; {hint}"));
        }
        let line = |line: &str| instead_of_line("[[allow]]", line);
        for (text, hint) in [
            ("// a comment", Some("a comment begins with `#`")),
            ("/* a comment */", Some("a comment begins with `#`")),
            ("when: x", Some("a key has `=` after it: when = …")),
            ("\"a_b\": 1", Some("a key has `=` after it: a_b = …")),
            ("a_b", None),
            ("a-b: 1", None),
            (": 1", None),
            ("= 'a:b'", None),
        ] {
            assert_eq!(line(text).as_deref(), hint, "{text}");
        }
        assert!(instead_of_line(" {\"allow\": []}", "{").unwrap().starts_with("this is JSON; "));
        assert_eq!(rule("when = { level = 1.5 }"), "`when.level` is a float; write it as text: \"1.5\"");
    }

    fn error(toml: &str) -> RulesError {
        let RulesErrors(mut errors) = Rules::parse(toml).unwrap_err();
        assert_eq!(errors.len(), 1, "{toml}: {errors:?}");
        errors.remove(0)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn an_error_says_what_is_wrong_and_where() {
        let when = |when: &str| format!("[[allow]]\nwhen = {{ {when} }}\nroutes = ['GET /a']");
        let routes = |routes: &str| format!("[[allow]]\nroutes = [{routes}]");
        let with = |line: &str| format!("[[allow]]\nroutes = ['GET /a']\n{line}");
        let (patterns, texts) = (
            "a string or a list of strings; a number or a boolean is written as text, such as \"5\"",
            "a list of `METHOD /path`",
        );
        for (toml, line, reason) in [
            (String::new(), 1, "no [[allow]] rule; nobody could call anything".to_owned()),
            ("[[deny]]\nroutes = ['GET /a']".to_owned(), 1, "no [[allow]] rule; nobody could call anything".to_owned()),
            ("allow = []".to_owned(), 1, "no [[allow]] rule; nobody could call anything".to_owned()),
            (routes(""), 2, format!("`routes` is an empty list; expected {texts}")),
            (routes("5"), 2, format!("`routes` has an integer; expected {texts}")),
            ("[[allow]]\nroutes = { a = 1 }".to_owned(), 2, format!("`routes` is a table; expected {texts}")),
            (
                "[[allow]]\nroutes = 'GET /a'".to_owned(),
                2,
                "`routes` is a string; write a list: routes = [\"GET /a\"]".to_owned(),
            ),
            (
                "\n[[allow]]\nwhen = { uid = 'x' }".to_owned(),
                2,
                "the rule has no `routes`; expected one `METHOD /path` or more".to_owned(),
            ),
            (
                with("route = ['GET /b']"),
                3,
                "unknown key `route`; write `routes`".to_owned(),
            ),
            (with("Routes = ['GET /b']"), 3, "unknown key `Routes`; write `routes`".to_owned()),
            (
                with("effect = 'Deny'"),
                3,
                "unknown key `effect`; a rule's effect is how it begins: [[allow]] or [[deny]]".to_owned(),
            ),
            (
                with("other = 1"),
                3,
                "unknown key `other`; a rule has `routes`, `when`, `stage`, `api`, `name`".to_owned(),
            ),
            (with("[[Allow]]\nroutes = ['GET /a']"), 3, "unknown key `Allow`; write [[allow]]".to_owned()),
            (with("[[Deny]]\nroutes = ['GET /a']"), 3, "unknown key `Deny`; write [[deny]]".to_owned()),
            (
                "[[case]]\nname = 'x'".to_owned(),
                1,
                "unknown key `case`; a tests file has it, and this is read as a rules file, with [[allow]] and [[deny]] rules"
                    .to_owned(),
            ),
            (
                "stage = 'dev'\n[[allow]]\nroutes = ['GET /a']".to_owned(),
                1,
                "unknown key `stage`; it belongs under an [[allow]] or a [[deny]]".to_owned(),
            ),
            (
                "{\"allow\":[{\"routes\":[\"GET /a\"]}]}".to_owned(),
                1,
                "this is JSON; a rules file is TOML, such as docs/rules.md shows it".to_owned(),
            ),
            (with("// a comment"), 3, "a comment begins with `#`".to_owned()),
            (with("name: 'x'"), 3, "a key has `=` after it: name = …".to_owned()),
            (
                with("name = \u{201c}x\u{201d}"),
                3,
                "the line has typographic quotes; write straight ones, such as \"GET /orders\"".to_owned(),
            ),
            (with("name = = 'x'"), 3, "extra `=`, expected nothing".to_owned()),
            (
                with("[[alow]]\nroutes = ['GET /a']"),
                3,
                "unknown key `alow`; a file has [[allow]] and [[deny]] rules".to_owned(),
            ),
            (
                "[allow]\nroutes = ['GET /a']".to_owned(),
                1,
                "`[allow]` has one bracket too few; a rule begins with [[allow]]".to_owned(),
            ),
            ("deny = 5\n[[allow]]\nroutes = ['GET /a']".to_owned(), 1, "expected [[deny]] rules, found an integer".to_owned()),
            ("allow = ['GET /a']".to_owned(), 1, "expected a [[allow]] rule, found a string".to_owned()),
            (
                routes("\n  'GET /a',\n  'FETCH /b',\n"),
                4,
                "the route `FETCH /b` has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY".to_owned(),
            ),
            (routes("'GET /{x}'"), 2, "the route `GET /{x}` uses `{x}`, which no pattern in `when` captures; for any value write `*`, or capture it, such as uid = \"{x}\"".to_owned()),
            (
                routes("'GET /{proxy+}'"),
                2,
                "the route `GET /{proxy+}` has `{proxy+}`, as API Gateway writes it; write `*`".to_owned(),
            ),
            (
                with("stage = ['dev', 'prod']").replace("/a", "/prod/orders"),
                2,
                "the route `GET /prod/orders` starts with the rule's stage; a path has no stage, so write `GET /orders`".to_owned(),
            ),
            (when(""), 2, "`when` names no claim; leave it out to mean any valid token".to_owned()),
            (
                with("when = 'everyone'"),
                3,
                "`when` is a string; expected claims, such as { groups = \"STAFF\" }".to_owned(),
            ),
            (when("uid = 7"), 2, "`when.uid` is an integer; write it as text: \"7\"".to_owned()),
            (when("admin = true"), 2, "`when.admin` is a boolean; write it as text: \"true\"".to_owned()),
            (
                with("when = [{ uid = 'x' }]"),
                3,
                "`when` is an array; expected claims, such as { groups = \"STAFF\" }; all of its claims must match, and an alternative is a rule of its own".to_owned(),
            ),
            (when("uid = []"), 2, format!("`when.uid` is an empty list; expected {patterns}")),
            (when("uid = ['a', true]"), 2, format!("`when.uid` has a boolean; expected {patterns}")),
            (when("uid = { all = [] }"), 2, format!("`when.uid` is an empty list; expected {patterns}")),
            (
                when("uid = { all = 'a' }"),
                2,
                "`when.uid` `all` is a string; expected a list of patterns".to_owned(),
            ),
            (
                when("uid = { present = 'yes' }"),
                2,
                "`when.uid` `present` is a string; expected true or false".to_owned(),
            ),
            (
                when("uid = { present = true, all = ['a'] }"),
                2,
                "`when.uid` expects one of { all = […] } and { present = … }".to_owned(),
            ),
            (
                when("app = { roles = 'admin' }"),
                2,
                "`when.app` has `roles`; expected a pattern, a list, { all = […] } or { present = … }; a claim inside of a claim is \"/app/roles\"".to_owned(),
            ),
            (when("g = { any = ['A'] }"), 2, "`when.g` has `any`; a list means any of them: g = [\"A\", \"B\"]".to_owned()),
            (when("g = { not = 'A' }"), 2, "`when.g` has `not`; write a [[deny]] rule for what is not allowed".to_owned()),
            (
                when("g = 'A', g = 'B'"),
                2,
                "a name is there twice; if all of several values of a claim are needed, write { all = [\"A\", \"B\"] }".to_owned(),
            ),
            (with("routes = ['GET /b']"), 3, "`routes` is there twice; write it once".to_owned()),
            (with("[allow]"), 3, "`[allow]` has one bracket too few; a rule begins with [[allow]]".to_owned()),
            (
                when("uid = ['a', '{x}']"),
                2,
                "`when.uid` lists patterns with different captures; write a rule for each".to_owned(),
            ),
            (
                when("a = '{x'"),
                2,
                "`when.a` pattern `{x` has a brace that is not closed or not opened; expected text and {capture}s".to_owned(),
            ),
            (
                when("groups = 'SUSPENDED-*'"),
                2,
                "`when.groups` pattern `SUSPENDED-*` has a `*`, and values are compared whole; for any text, write a capture, such as \"SUSPENDED-{any}\"".to_owned(),
            ),
            (
                when("groups = '*'"),
                2,
                "`when.groups` pattern `*` has a `*`, and values are compared whole; for any value, write { present = true }".to_owned(),
            ),
            (
                when("groups = '^team-[a-z]+$'"),
                2,
                "`when.groups` pattern `^team-[a-z]+$` looks like a regular expression, and values are compared whole; use text and captures, such as `team-{name}`, and a list for alternatives".to_owned(),
            ),
            (
                when("scope = 'a'"),
                2,
                "the claim `scope` is not a name that can be used; write `scopes`, which is `scp` or else `scope`".to_owned(),
            ),
            (
                when("'/a/~x' = 'a'"),
                2,
                "the claim `/a/~x` has a `~` that is not `~0` (a `~`) or `~1` (a `/`), see RFC 6901".to_owned(),
            ),
            (when("'' = 'a'"), 2, "the claim `` has no name".to_owned()),
            (when("uid = {uid}"), 2, "a value is in quotes; write \"{uid}\" instead of {uid}".to_owned()),
            (
                "allow = [{ routes = ['GET /a'] }, { routes = ['GET /b'] }]".to_owned(),
                1,
                "two rules begin on this line; write each of them as [[allow]] or [[deny]]".to_owned(),
            ),
            (
                when("scopes = 'a b'"),
                2,
                "`when.scopes` pattern `a b` has white space, and no scope has any".to_owned(),
            ),
            (
                when("groups = 'A', stage = 'prod'"),
                2,
                "the claim `stage` is a key of a rule, and belongs beside `when`; if there is a claim of this name, write \"/stage\"".to_owned(),
            ),
            (with("stage = 'a/b'"), 3, "`stage` has `a/b`; expected names of stages, such as \"prod\", compared whole".to_owned()),
            (with("stage = '*'"), 3, "`stage` has `*`; expected names of stages, such as \"prod\", compared whole".to_owned()),
            (with("api = []"), 3, "`api` is an empty list; expected ids of APIs, such as \"a1b2c3d4e5\"".to_owned()),
            (with("api = 'My API'"), 3, "`api` has `My API`; expected ids of APIs, such as \"a1b2c3d4e5\", compared whole".to_owned()),
            (with("name = 5"), 3, "`name` is an integer; expected a string".to_owned()),
            (
                with("name = 'line 12'"),
                3,
                "the name `line 12` cannot be used; expected 1 to 64 printable characters of ASCII without `\"` and `\\`, and not `line` with a number".to_owned(),
            ),
            (
                with("name = 'x'\n[[deny]]\nname = 'x'\nroutes = ['GET /a']"),
                5,
                "the name `x` is used twice; the log could not tell the rules apart".to_owned(),
            ),
        ] {
            let error = error(&toml);
            assert_eq!((error.line, error.reason.as_str()), (line, reason.as_str()), "{toml}");
        }
    }

    #[test]
    fn what_is_like_a_mistake_can_be_right() {
        for rest in [
            "name = 'line'",
            "name = 'line 1a'",
            "name = 'lines 12'",
            "name = 'a ()'",
            "stage = 'v1_x-y'\napi = ['a1b2c3d4e5', '0']",
            "when = { groups = ['C++ (EU)', 'a.b', 'R&D?', '[ops]', 'CORP\\dev', '$5', 'a^b', '(x)', 'scopes'] }",
            "when = { 'https://example.com/groups' = 'x', '/y' = 'y', name = 'n', scopes = 'z', '/scopes' = 'w' }",
            "when = { a = { all = ['{x}-a', '{x}-b'] }, b = '{x}', c = { present = false } }",
            "when = { a = '{userId}', B = '{X_1}' }",
        ] {
            let toml = format!("[[allow]]\nroutes = ['GET /a', 'GET /b/']\n{rest}\n");
            assert!(Rules::parse(&toml).is_ok(), "{rest}: {:?}", Rules::parse(&toml));
        }
        let longest =
            |bytes: usize| Rules::parse(&format!("[[allow]]\nroutes = ['GET /a']\nname = '{}'", "n".repeat(bytes)));
        assert!(longest(64).is_ok() && longest(65).is_err());
        for name in ["", " ", "a\tb", "a\"b", "a\\b", "é", "a\u{202e}b"] {
            let name = serde_json::to_string(name).unwrap();
            assert!(Rules::parse(&format!("[[allow]]\nroutes = ['GET /a']\nname = {name}")).is_err(), "{name}");
        }
    }

    #[test]
    fn all_mistakes_are_reported_in_the_order_of_the_file() {
        let toml = "x = 1
[[deny]]
when = { scp = 'a', groups = ['A*', 'B'], uid = '{u}' }
routes = ['GET /{u}', 'GET /{other}', 'get /a']
[[allow]]
when = { uid = '{u}', groups = 5 }
routes = ['GET //', 'GET /{v}']
[[allow]]
name = ''
";
        let RulesErrors(errors) = Rules::parse(toml).unwrap_err();
        let lines: Vec<_> = errors.iter().map(|error| error.line).collect();
        // The captures of a rule with a wrong `when` are not known, so they are not checked.
        assert_eq!(lines, [1, 3, 3, 4, 6, 7, 8, 9], "{errors:#?}");
        let text = RulesErrors(errors).to_string();
        assert!(text.starts_with("line 1: unknown key `x`; ") && text.contains("; line 3: "), "{text}");
    }

    #[test]
    fn a_hundred_mistakes_are_reported() {
        let toml = |count: usize| "[[allow]]\nroutes = []\n".repeat(count);
        let RulesErrors(errors) = Rules::parse(&toml(100)).unwrap_err();
        assert!(errors.len() == 100 && errors.iter().all(|error| error.reason.starts_with("`routes` is")));
        let RulesErrors(errors) = Rules::parse(&toml(200)).unwrap_err();
        assert_eq!((errors.len(), errors[100].line), (101, 202));
        assert_eq!(errors[100].reason, "there are more mistakes; mend these first");
        let RulesErrors(errors) = Rules::parse(&"[[\n".repeat(200)).unwrap_err();
        assert_eq!(errors.len(), 100);
    }

    #[test]
    fn a_rule_has_32_captures_at_most() {
        let rule = |count: usize| {
            let when: Vec<_> = (0..count).map(|n| format!("c{n} = '{{x{}}}'", n / 2)).collect();
            Rules::parse(&format!("[[allow]]\nroutes = ['GET /a']\nwhen = {{ {} }}", when.join(", ")))
        };
        assert!(rule(32).is_ok());
        let expected = "line 1: the rule has 33 captures; at most 32 are accepted";
        assert_eq!(rule(33).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_syntax_error_is_reported_once_for_each_line() {
        let toml = "[[allow]]\nwhen = { uid = {uid} }\nroutes = [GET /users/{uid}]\n";
        let RulesErrors(errors) = Rules::parse(toml).unwrap_err();
        let lines: Vec<_> = errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, [2, 3], "{errors:#?}");
        assert_eq!(&toml[errors[0].span.clone()], "{uid}");
        for (line, capture) in [
            ("a = {uid}", Some("{uid}")),
            ("a = [ {x1}, 'b']", Some("{x1}")),
            ("a = '{uid}'", None),
            ("a = {}", None),
            ("a = { b = 1 }", None),
            ("a = {uid", None),
            ("{uid}", None),
        ] {
            assert_eq!(unquoted_capture(line), capture, "{line}");
        }
    }

    #[test]
    fn a_file_is_utf_8() {
        let text = "[[allow]]\nroutes = ['GET /a'] # é\n";
        assert_eq!(Rules::text(text.as_bytes().to_vec()).unwrap(), text);
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [&[0xff, 0xfe], little.as_slice()].concat();
        let big: Vec<u8> = [0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect();
        for utf_16 in [little, marked, big, b"\xff\xfe".to_vec(), b"\xfe\xff".to_vec()] {
            let error = Rules::text(utf_16).unwrap_err().to_string();
            assert!(
                error.starts_with("line 1: the file is UTF-16, as PowerShell writes it; save it as UTF-8"),
                "{error}"
            );
        }
        assert!(Rules::text(b"ab\0".to_vec()).is_ok(), "the parser has its own message");
        let error = Rules::text(b"\xe9".to_vec()).unwrap_err().to_string();
        assert_eq!(error, "line 1: the file is not UTF-8; save it as UTF-8");
        assert!(Rules::parse(&format!("\u{feff}{text}")).is_ok(), "a byte order mark of UTF-8");
    }

    #[test]
    fn a_file_has_100_kib_at_most() {
        let good = "[[allow]]\nroutes = ['GET /a']\n#";
        let padded = |bytes: usize| good.to_owned() + &"x".repeat(bytes - good.len());
        assert!(Rules::parse(&padded(102_400)).is_ok());
        let error = error(&padded(102_401));
        assert_eq!(error.to_string(), "line 1: the file has 102401 bytes; at most 102400 are accepted");
    }

    #[test]
    fn a_rule_has_a_name_or_its_line() {
        let rule = |effect, name| format!("# x\n[[{effect}]]\nroutes = ['GET /a']\n{name}\n");
        let toml = [rule("allow", "name = 'first'"), rule("deny", ""), rule("allow", ""), rule("deny", "name = 'e'")];
        let rules = Rules::parse(&toml.concat()).unwrap();
        let names = |rules: &[Rule]| rules.iter().map(|rule| rule.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&rules.allow), ["first", "line 10"]);
        assert_eq!(names(&rules.deny), ["line 6", "e"]);
        assert_eq!(serde_json::to_string(&rules.deny[0].name).unwrap(), "\"line 6\"");
        assert!(rules.allow[0].name < rules.deny[0].name && rules.deny[0].name < rules.allow[1].name);
        assert_eq!(rules.allow[1].name.effect, Effect::Allow);
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
            (6, "when = { groups = '{team}{uid}' }", 6..=6),
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
            let RulesErrors(errors) = Rules::parse(&toml.join("\n")).unwrap_err();
            for error in errors {
                assert!(lines.contains(&error.line) && !error.reason.contains('\n'), "{text}: {error}");
            }
        }
    }
}
