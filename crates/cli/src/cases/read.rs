//! Reads a tests file, and reports all mistakes at once.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use okta_authorizer_policy::{ClaimSet, MethodArn};
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    claims,
    cover::EXPECTABLE,
    report::{File, Finding, Level, Place, Report, count},
    request::{DEFAULT_API, DEFAULT_STAGE, Stage},
};

/// A tests file, all of it checked.
#[derive(Debug)]
pub struct Tests {
    /// The file.
    pub file: Arc<File>,
    /// Its `[[case]]` tables, in the order of the file.
    pub cases: Vec<Case>,
    /// Its `[[expected]]` tables, likewise.
    pub expected: Vec<Expected>,
}

/// Claims, and what a token with them may call and may not call.
#[derive(Debug)]
pub struct Case {
    /// The name, which no other case has.
    pub name: String,
    /// The claims as a JSON object, without those that every token has.
    pub json: String,
    /// All claims.
    pub claims: ClaimSet,
    /// The stage and the API of the requests.
    pub stage: Stage,
    /// The requests of `allow`, `only` and `deny`. No two are equal.
    pub requests: Vec<Request>,
    /// The place of `only`, if the token may call nothing else.
    pub only: Option<Range<usize>>,
}

/// A request of a case.
#[derive(Debug)]
pub struct Request {
    /// The request itself.
    pub arn: MethodArn,
    /// The place of its string.
    pub span: Range<usize>,
    /// What the case expects.
    pub is_allowed: bool,
}

/// Findings of `cover` that are expected.
#[derive(Debug)]
pub struct Expected {
    /// The kind of the findings, such as `open-operation`.
    pub finding: String,
    /// The operations or routes as they are written, each with its place.
    pub on: Vec<(String, Range<usize>)>,
    /// Why they are expected.
    pub reason: String,
    /// The place of the table.
    pub span: Range<usize>,
}

/// Reads a tests file.
///
/// # Errors
/// All mistakes in it, each with its place.
pub fn read(file: &Arc<File>) -> Result<Tests, Report> {
    let mut reader = Reader { file, mistakes: Vec::new() };
    let (cases, expected) = reader.tests();
    if reader.mistakes.is_empty() {
        return Ok(Tests { file: Arc::clone(file), cases, expected });
    }
    let mut findings = reader.mistakes;
    findings.sort_by_key(|finding| finding.places.first().map(|place| place.span.start));
    let counts = count(&findings).unwrap_or_default();
    let shown = if findings.len() > MAX_MISTAKES { ", the first 100 are shown" } else { "" };
    let summary = format!("{}: {counts}{shown}", file.name);
    findings.truncate(MAX_MISTAKES);
    Err(Report { findings, summary })
}

/// The most mistakes that are reported.
const MAX_MISTAKES: usize = 100;

/// A value in the file, with its place.
type Item<'t> = Spanned<DeValue<'t>>;

/// Collects the mistakes. A part with a mistake is left out of the result, so that the rest is
/// checked too.
struct Reader<'f> {
    file: &'f Arc<File>,
    mistakes: Vec<Finding>,
}

impl Reader<'_> {
    fn mistake(&mut self, span: Range<usize>, message: &str) {
        self.mistake_at(vec![Place::new(self.file, span)], message);
    }

    fn mistake_at(&mut self, places: Vec<Place>, message: &str) {
        let message = message.replace(char::is_control, " ");
        let (level, advice) = (Level::Error, Vec::new());
        self.mistakes.push(Finding { level, kind: "mistake", message, places, advice, witness: None });
    }

    /// A mistake because of something that is earlier in the file.
    fn repeated(&mut self, span: Range<usize>, message: &str, first: Range<usize>) {
        let first = Place { label: Some("the first one".to_owned()), ..Place::new(self.file, first) };
        self.mistake_at(vec![Place::new(self.file, span), first], message);
    }

    fn tests(&mut self) -> (Vec<Case>, Vec<Expected>) {
        let (mut cases, mut expected) = (Vec::<(Case, Range<usize>)>::new(), Vec::new());
        let (table, syntax_errors) = DeTable::parse_recoverable(&self.file.text);
        for error in &syntax_errors {
            self.syntax_error(error);
        }
        if !syntax_errors.is_empty() {
            return (Vec::new(), expected);
        }
        let table = table.get_ref();
        if let Some((key, _)) = table.iter().find(|(key, _)| matches!(key.get_ref().as_ref(), "allow" | "deny")) {
            let message = "this is a rules file, because it has [[allow]] or [[deny]]; a tests file has [[case]], and \
                           `okta-policy test TESTS --rules RULES` names both";
            self.mistake(key.span(), message);
            return (Vec::new(), expected);
        }
        for (key, item) in table {
            match key.get_ref().as_ref() {
                name @ "case" => {
                    for (span, table) in self.tables(name, key.span(), item) {
                        cases.extend(self.case(span, table));
                    }
                }
                name @ "expected" => {
                    for (span, table) in self.tables(name, key.span(), item) {
                        expected.extend(self.expected(span, table));
                    }
                }
                other => {
                    let way_out = match other {
                        "cases" | "Case" | "Cases" | "test" | "tests" => "write [[case]]",
                        "expect" | "Expected" => "write [[expected]]",
                        "name" | "claims" | "stage" | "api" | "only" => "it belongs under a [[case]]",
                        _ => "a tests file has [[case]] and [[expected]]",
                    };
                    self.mistake(key.span(), &format!("unknown key `{other}`; {way_out}"));
                }
            }
        }
        if table.is_empty() {
            let message = "there is no case; write one, such as [[case]] with name = \"staff\", claims = { groups = \
                           [\"STAFF\"] } and allow = [\"GET /apps\"]";
            self.mistake(0..0, message);
        }
        let mut names: BTreeMap<String, Range<usize>> = BTreeMap::new();
        for (case, span) in &cases {
            if let Some(first) = names.get(&case.name) {
                let message = format!("two cases have the name \"{}\"; a failure could be of either", case.name);
                self.repeated(span.clone(), &message, first.clone());
            } else {
                names.insert(case.name.clone(), span.clone());
            }
        }
        (cases.into_iter().map(|(case, _)| case).collect(), expected)
    }

    /// A mistake in the TOML itself. One for each line is enough, because the others follow from it.
    fn syntax_error(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        let line_of = |span: Range<usize>| Place::new(self.file, span).start().0;
        let line = line_of(span.clone());
        let mut earlier = self.mistakes.iter().flat_map(|mistake| &mistake.places);
        if !earlier.any(|place| place.start().0 == line) {
            self.mistake(span, error.message());
        }
    }

    /// The tables of `[[name]]`.
    fn tables<'i, 't>(
        &mut self,
        name: &str,
        key: Range<usize>,
        item: &'i Item<'t>,
    ) -> Vec<(Range<usize>, &'i DeTable<'t>)> {
        match item.get_ref() {
            DeValue::Array(items) => {
                let mut tables = Vec::new();
                for item in items {
                    match item.get_ref() {
                        DeValue::Table(table) => tables.push((item.span(), table)),
                        other => {
                            let message = format!("expected [[{name}]] with keys, found {}", a(other.type_str()));
                            self.mistake(item.span(), &message);
                        }
                    }
                }
                tables
            }
            DeValue::Table(table) => {
                self.mistake(key, &format!("`[{name}]` has one bracket too few; write [[{name}]]"));
                vec![(item.span(), table)]
            }
            other => {
                self.mistake(item.span(), &format!("expected [[{name}]] with keys, found {}", a(other.type_str())));
                Vec::new()
            }
        }
    }

    /// A case, and the place of its name.
    fn case(&mut self, span: Range<usize>, table: &DeTable<'_>) -> Option<(Case, Range<usize>)> {
        let mistakes_before = self.mistakes.len();
        let get = |name: &str| table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, item)| item);
        for (key, _) in table {
            let way_out = match key.get_ref().as_ref() {
                "name" | "claims" | "stage" | "api" | "allow" | "deny" | "only" => continue,
                "claim" | "Claims" | "token" | "when" => "write `claims`",
                "Name" | "title" | "description" => "write `name`",
                "allowed" | "Allow" | "request" | "requests" | "routes" => "write `allow`, or `deny`",
                "denied" | "Deny" => "write `deny`",
                "stages" => "write `stage`",
                "apis" => "write `api`",
                _ => "a case has `name`, `claims`, `stage`, `api`, `allow`, `deny`, `only`",
            };
            self.mistake(key.span(), &format!("unknown key `{}`; {way_out}", key.get_ref()));
        }
        // An unknown key can be the one that is missing.
        let has_unknown = self.mistakes.len() > mistakes_before;
        let name = self.text(get("name"), "name", "a case has a `name`, such as \"staff read orders\"", &span);
        let api = get("api").map_or(Some((DEFAULT_API.to_owned(), 0..0)), |item| self.one_name(item, "api"));
        let stage = get("stage").map_or(Some((DEFAULT_STAGE.to_owned(), 0..0)), |item| self.one_name(item, "stage"));
        let stage = api.zip(stage).and_then(|((api, api_span), (stage, stage_span))| {
            let span = if Stage::new(&api, DEFAULT_STAGE).is_err() { api_span } else { stage_span };
            Stage::new(&api, &stage).map_err(|problem| self.mistake(span, &problem)).ok()
        });
        let claims = match get("claims") {
            Some(item) => self.claims(item),
            None if has_unknown => None,
            None => {
                self.mistake(span.clone(), "the case has no `claims`; for a token without any, write claims = {}");
                None
            }
        };
        if let (Some(item), Some(_)) = (get("allow"), get("only")) {
            self.mistake(item.span(), "a case has either `allow` or `only`, which also says what must be allowed");
        }
        let mut requests: Vec<Request> = Vec::new();
        // Mistakes of the stage are reported, and the requests are read nevertheless.
        let stage_is_good = stage.is_some();
        let stage = stage.or_else(|| Stage::new(DEFAULT_API, DEFAULT_STAGE).ok())?;
        for (key, is_allowed) in [("allow", true), ("only", true), ("deny", false)] {
            for (text, span) in get(key).map(|item| self.requests(item, key)).unwrap_or_default() {
                let arn = match stage.request(&text) {
                    Ok(arn) => arn,
                    Err(problem) => {
                        self.mistake(span, &problem);
                        continue;
                    }
                };
                let Some(first) = requests.iter().find(|other| other.arn == arn) else {
                    requests.push(Request { arn, span, is_allowed });
                    continue;
                };
                let message = if first.is_allowed == is_allowed {
                    format!("`{text}` is there twice; write it once")
                } else {
                    format!("`{text}` is in both lists, and a request is either allowed or denied")
                };
                let first = first.span.clone();
                self.repeated(span, &message, first);
            }
        }
        let only = get("only").map(Spanned::span);
        if self.mistakes.len() == mistakes_before && requests.is_empty() && only.is_none() {
            let message = "the case expects nothing; give `allow` or `deny` a request such as \"GET /apps\"";
            self.mistake(span, message);
        }
        let ((name, name_span), (json, claims)) = (name?, claims?);
        stage_is_good.then_some((Case { name, json, claims, stage, requests, only }, name_span))
    }

    fn expected(&mut self, span: Range<usize>, table: &DeTable<'_>) -> Option<Expected> {
        let get = |name: &str| table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, item)| item);
        for (key, _) in table {
            if !matches!(key.get_ref().as_ref(), "finding" | "on" | "reason") {
                let message = format!("unknown key `{}`; [[expected]] has `finding`, `on`, `reason`", key.get_ref());
                self.mistake(key.span(), &message);
            }
        }
        let finding = self.text(
            get("finding"),
            "finding",
            "[[expected]] has a `finding`, the kind in brackets that `cover` prints, such as \"open-operation\"",
            &span,
        );
        let reason =
            self.text(get("reason"), "reason", "[[expected]] has a `reason`, for those who read it later", &span);
        let expectation = "an operation or a route as it is written, such as \"GET /health\", or a list of them";
        let on = get("on").map(|item| self.texts(item, "on", expectation));
        if on.is_none() {
            self.mistake(span.clone(), &format!("[[expected]] has `on`: {expectation}"));
        }
        if let Some((kind, span)) = finding.as_ref().filter(|(kind, _)| !EXPECTABLE.contains(&kind.as_str())) {
            let message = format!("`{kind}` cannot be expected; expected one of {}", EXPECTABLE.join(", "));
            self.mistake(span.clone(), &message);
            return None;
        }
        Some(Expected { finding: finding?.0, on: on?, reason: reason?.0, span })
    }

    /// A text that is required and not empty, and its place.
    fn text(
        &mut self,
        item: Option<&Item<'_>>,
        key: &str,
        required: &str,
        table: &Range<usize>,
    ) -> Option<(String, Range<usize>)> {
        let Some(item) = item else {
            self.mistake(table.clone(), required);
            return None;
        };
        match item.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                self.mistake(item.span(), &format!("`{key}` is empty; {required}"));
                None
            }
            DeValue::String(text) => Some((text.to_string(), item.span())),
            other => {
                self.mistake(item.span(), &format!("`{key}` is {}; expected a string", a(other.type_str())));
                None
            }
        }
    }

    /// The stage or the API of a case.
    fn one_name(&mut self, item: &Item<'_>, key: &str) -> Option<(String, Range<usize>)> {
        if let DeValue::Array(_) = item.get_ref() {
            self.mistake(item.span(), &format!("a case has one `{key}`; write a case for each"));
            return None;
        }
        let Some(name) = item.get_ref().as_str() else {
            let found = a(item.get_ref().type_str());
            self.mistake(item.span(), &format!("`{key}` is {found}; expected a string"));
            return None;
        };
        Some((name.to_owned(), item.span()))
    }

    /// The texts of a list of requests.
    fn requests(&mut self, item: &Item<'_>, key: &str) -> Vec<(String, Range<usize>)> {
        match item.get_ref() {
            DeValue::String(text) => {
                self.mistake(item.span(), &format!("`{key}` is a string; write a list: {key} = [\"{text}\"]"));
                Vec::new()
            }
            DeValue::Array(items) if items.is_empty() => Vec::new(),
            _ => self.texts(item, key, "a list of requests, such as [\"GET /apps\"]"),
        }
    }

    /// The texts of a string or of an array of strings that is not empty, each with its place.
    fn texts(&mut self, item: &Item<'_>, key: &str, expected: &str) -> Vec<(String, Range<usize>)> {
        let items = match item.get_ref() {
            DeValue::String(text) => return vec![(text.to_string(), item.span())],
            DeValue::Array(items) => items,
            other => {
                self.mistake(item.span(), &format!("`{key}` is {}; expected {expected}", a(other.type_str())));
                return Vec::new();
            }
        };
        if items.is_empty() {
            self.mistake(item.span(), &format!("`{key}` is an empty list; expected {expected}"));
        }
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => texts.push((text.to_string(), item.span())),
                other => {
                    self.mistake(item.span(), &format!("`{key}` has {}; expected {expected}", a(other.type_str())));
                }
            }
        }
        texts
    }

    /// The claims as JSON, and as the rules see them.
    fn claims(&mut self, item: &Item<'_>) -> Option<(String, ClaimSet)> {
        let DeValue::Table(table) = item.get_ref() else {
            let found = a(item.get_ref().type_str());
            let message = format!("`claims` is {found}; write a table: claims = {{ uid = \"00u1\" }}");
            self.mistake(item.span(), &message);
            return None;
        };
        let has = |name: &str| table.iter().any(|(key, _)| key.get_ref() == name);
        let scopes = table.iter().find(|(key, _)| key.get_ref() == "scopes" && !has("scp") && !has("scope"));
        if let Some((key, _)) = scopes {
            let message = "a token has no claim `scopes`; Okta's is `scp`, so write scp = [\"orders:read\"]; if there is a \
                           claim of this name, write scp = [] as well";
            self.mistake(key.span(), message);
            return None;
        }
        let json = self.json(item)?;
        match claims::from_json(&json) {
            Ok(claims) => Some((json, claims)),
            Err(problem) => {
                self.mistake(item.span(), &problem);
                None
            }
        }
    }

    /// A TOML value as JSON. Numbers keep their text, because rules compare it.
    fn json(&mut self, item: &Item<'_>) -> Option<String> {
        let number = |text: &str| serde_json::from_str::<Value>(text).is_ok().then(|| text.to_owned());
        let json = match item.get_ref() {
            DeValue::String(text) => Some(Value::from(text.as_ref()).to_string()),
            DeValue::Boolean(boolean) => Some(boolean.to_string()),
            DeValue::Integer(integer) if integer.radix() == 10 => number(integer.as_str().trim_start_matches('+')),
            DeValue::Float(float) => number(float.as_str().trim_start_matches('+')),
            DeValue::Integer(_) | DeValue::Datetime(_) => None,
            DeValue::Array(items) => {
                let items: Option<Vec<_>> = items.iter().map(|item| self.json(item)).collect();
                return Some(format!("[{}]", items?.join(",")));
            }
            DeValue::Table(table) => {
                let member = |(key, item): (&Spanned<_>, &Item<'_>)| {
                    let key: &std::borrow::Cow<'_, str> = key.get_ref();
                    Some(format!("{}:{}", Value::from(key.as_ref()), self.json(item)?))
                };
                let members: Option<Vec<_>> = table.iter().map(member).collect();
                return Some(format!("{{{}}}", members?.join(",")));
            }
        };
        if json.is_none() {
            let found = a(item.get_ref().type_str());
            let message =
                format!("{found} such as this one cannot be in a token; write a decimal number, or text in quotes");
            self.mistake(item.span(), &message);
        }
        json
    }
}

/// A TOML type with its article.
fn a(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {type_name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of each mistake as lines, and its message.
    fn mistakes(text: &str) -> Vec<(Vec<usize>, String)> {
        let file = Arc::new(File { name: "t.toml".to_owned(), text: text.to_owned() });
        let Err(report) = read(&file) else { return Vec::new() };
        let lines = |finding: &Finding| finding.places.iter().map(|place| place.start().0).collect();
        report.findings.iter().map(|finding| (lines(finding), finding.message.clone())).collect()
    }

    #[test]
    fn a_mistake_is_said_with_its_way_out() {
        let good = "[[case]]\nname = 'x'\nclaims = { uid = '00u1' }\nallow = ['GET /a']\n";
        assert_eq!(mistakes(good), []);
        let claims = |claims: &str| good.replace("{ uid = '00u1' }", claims);
        let allow = |allow: &str| good.replace("allow = ['GET /a']", allow);
        for (text, line, message) in [
            (
                String::new(),
                1,
                "there is no case; write one, such as [[case]] with name = \"staff\", claims = { groups = [\"STAFF\"] } \
                 and allow = [\"GET /apps\"]",
            ),
            (good.replace("[[case]]", "[[cases]]"), 1, "unknown key `cases`; write [[case]]"),
            (good.replace("[[case]]", "[case]"), 1, "`[case]` has one bracket too few; write [[case]]"),
            ("case = 5".to_owned(), 1, "expected [[case]] with keys, found an integer"),
            ("case = [5]".to_owned(), 1, "expected [[case]] with keys, found an integer"),
            (format!("stage = 'dev'\n{good}"), 1, "unknown key `stage`; it belongs under a [[case]]"),
            (format!("x = 1\n{good}"), 1, "unknown key `x`; a tests file has [[case]] and [[expected]]"),
            (
                "[[allow]]\nroutes = ['GET /a']".to_owned(),
                1,
                "this is a rules file, because it has [[allow]] or [[deny]]; a tests file has [[case]], and `okta-policy \
                 test TESTS --rules RULES` names both",
            ),
            (good.replace("claims", "claim"), 3, "unknown key `claim`; write `claims`"),
            (
                good.replace("allow", "alow"),
                4,
                "unknown key `alow`; a case has `name`, `claims`, `stage`, `api`, `allow`, `deny`, `only`",
            ),
            (good.replace("name = 'x'", ""), 1, "a case has a `name`, such as \"staff read orders\""),
            (good.replace("'x'", "' '"), 2, "`name` is empty; a case has a `name`, such as \"staff read orders\""),
            (good.replace("'x'", "7"), 2, "`name` is an integer; expected a string"),
            (
                good.replace("claims = { uid = '00u1' }", ""),
                1,
                "the case has no `claims`; for a token without any, write claims = {}",
            ),
            (claims("'{}'"), 3, "`claims` is a string; write a table: claims = { uid = \"00u1\" }"),
            (
                claims("{ scopes = ['a'] }"),
                3,
                "a token has no claim `scopes`; Okta's is `scp`, so write scp = [\"orders:read\"]; if there is a claim of \
                 this name, write scp = [] as well",
            ),
            (claims("{ uid = 7 }"), 3, "a token with these claims is refused: the claim uid has the wrong type"),
            (
                claims("{ a = [2026-01-01] }"),
                3,
                "a datetime such as this one cannot be in a token; write a decimal number, or text in quotes",
            ),
            (
                claims("{ a = nan }"),
                3,
                "a float such as this one cannot be in a token; write a decimal number, or text in quotes",
            ),
            (
                claims("{ a = 0x10 }"),
                3,
                "an integer such as this one cannot be in a token; write a decimal number, or text in quotes",
            ),
            (format!("{good}stage = ['dev']"), 5, "a case has one `stage`; write a case for each"),
            (format!("{good}stage = 7"), 5, "`stage` is an integer; expected a string"),
            (
                format!("{good}stage = 'a/b'"),
                5,
                "`a/b` is not the name of a stage; expected 1 to 128 letters, digits, `-` and `_`",
            ),
            (
                format!("{good}stage = 'dev'\napi = ''"),
                6,
                "`` is not the id of an API; expected 1 to 128 letters, digits, `-` and `_`",
            ),
            (allow("allow = 'GET /a'"), 4, "`allow` is a string; write a list: allow = [\"GET /a\"]"),
            (allow("allow = [5]"), 4, "`allow` has an integer; expected a list of requests, such as [\"GET /apps\"]"),
            (
                allow("allow = []"),
                1,
                "the case expects nothing; give `allow` or `deny` a request such as \"GET /apps\"",
            ),
            (
                format!("{good}only = ['GET /b']"),
                4,
                "a case has either `allow` or `only`, which also says what must be allowed",
            ),
            (
                format!("{good}deny = ['GET /hello/*']"),
                5,
                "`GET /hello/*` is not a request: `*` is for rules, and a request with it proves nothing; write a real \
                 value: `GET /hello/x`",
            ),
        ] {
            assert_eq!(mistakes(&text), [(vec![line], message.to_owned())], "{text}");
        }
        for (text, lines, message) in [
            (
                format!("{good}deny = ['GET /a']"),
                [5, 4],
                "`GET /a` is in both lists, and a request is either allowed or denied",
            ),
            (allow("allow = ['GET /a',\n'GET /a']"), [5, 4], "`GET /a` is there twice; write it once"),
            (good.repeat(2), [6, 2], "two cases have the name \"x\"; a failure could be of either"),
        ] {
            assert_eq!(mistakes(&text), [(lines.to_vec(), message.to_owned())], "{text}");
        }
    }

    #[test]
    fn what_is_like_a_mistake_can_be_right() {
        for rest in [
            "claims = {}\nonly = []",
            "claims = {}\nonly = ['GET /a']\ndeny = ['GET /b']",
            "claims = { scopes = 'a', scp = [] }\ndeny = ['GET /b']",
            "claims = { scopes = 'a', scope = 'b' }\ndeny = ['GET /b']",
            "deny = ['GET /a', 'PUT /a', 'GET /a/']\nclaims.uid = 'x'",
            "claims = { a = +7, b = 1e3 }\nallow = []\ndeny = ['GET /b']\n[[expected]]\nfinding = 'open-operation'\non = 'GET /x'\nreason = 'y'",
        ] {
            assert_eq!(mistakes(&format!("[[case]]\nname = 'x'\n{rest}\n")), [], "{rest}");
        }
        assert_eq!(mistakes("[[expected]]\nfinding = 'open-operation'\non = 'GET /x'\nreason = 'y'"), []);
    }

    #[test]
    fn all_mistakes_are_reported_in_the_order_of_the_file() {
        let text =
            "[[case]]\nclaims = 5\nallow = ['GET /*', 'get /a']\nstage = 'a/b'\nx = 1\n[[case]]\nname = 'y'\n[y]\n";
        let lines: Vec<_> = mistakes(text).into_iter().flat_map(|(lines, _)| lines).collect();
        assert_eq!(lines, [1, 2, 3, 3, 4, 5, 6, 8]);
        let lines: Vec<_> =
            mistakes("[[case]]\nname = x\nclaims = {\nname = y\n").into_iter().map(|(lines, _)| lines[0]).collect();
        assert!(lines.len() > 1 && lines.is_sorted_by(|one, other| one < other), "{lines:?}");
        assert_eq!(mistakes(&"[[case]]\n".repeat(99)).len(), 100);
    }

    #[test]
    fn an_expected_finding_has_a_kind_a_place_and_a_reason() {
        let file = |text: &str| Arc::new(File { name: "t.toml".to_owned(), text: text.to_owned() });
        let good = "[[expected]]\nfinding = 'open-operation'\non = ['GET /health', 'GET /x']\nreason = 'public'\n";
        let text = file(good);
        let tests = read(&text).unwrap();
        let expected = &tests.expected[0];
        let on: Vec<_> = expected.on.iter().map(|(name, span)| (name.as_str(), &text.text[span.clone()])).collect();
        assert_eq!(on, [("GET /health", "'GET /health'"), ("GET /x", "'GET /x'")]);
        assert_eq!((expected.finding.as_str(), expected.reason.as_str()), ("open-operation", "public"));
        let (reason, on) = (
            "[[expected]] has a `reason`, for those who read it later",
            "an operation or a route as it is written, such as \"GET /health\", or a list of them",
        );
        for (text, line, message) in [
            (
                good.replace("reason", "because"),
                4,
                "unknown key `because`; [[expected]] has `finding`, `on`, `reason`".to_owned(),
            ),
            (good.replace("'public'", "''"), 4, format!("`reason` is empty; {reason}")),
            (good.replace("['GET /health', 'GET /x']", "[]"), 3, format!("`on` is an empty list; expected {on}")),
            (good.replace("['GET /health', 'GET /x']", "[1]"), 3, format!("`on` has an integer; expected {on}")),
            (good.replace("'open-operation'", "1"), 2, "`finding` is an integer; expected a string".to_owned()),
            (
                good.replace("[[expected]]", "[expected]"),
                1,
                "`[expected]` has one bracket too few; write [[expected]]".to_owned(),
            ),
        ] {
            assert_eq!(mistakes(&text).last(), Some(&(vec![line], message)), "{text}");
        }
    }
}
