//! Tokens and requests that prove a finding, and what the rules answer to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use okta_authorizer_policy::{
    ClaimName, ClaimSet, MAX_RESOURCE, MethodArn, Piece, PolicyOptions, Rule, Rules, Verdict, render, spellings,
};
use serde_json::{Map, Value};

use crate::{
    claims,
    meaning::{NeedTest, Part, parts_of},
    report::Witness,
    request::{DEFAULT_API, DEFAULT_STAGE, Stage},
    shape::{self, Shape},
};

/// How the Lambda makes policies, without a bound on their size, because a bound is about the number
/// of a token's values and not about the rules.
pub const OPTIONS: PolicyOptions = PolicyOptions { max_bytes: 1_048_576, path_guard: true };

/// A token and a request.
#[derive(Debug)]
pub struct Scene {
    /// The claims as JSON, without those that every token has.
    json: String,
    claims: ClaimSet,
    request: MethodArn,
}

impl Scene {
    /// `None` if the Lambda refuses each token with these claims, or API Gateway the request.
    #[must_use]
    pub fn new(claims: &Map<String, Value>, request: &str, api: &str, stage: &str) -> Option<Self> {
        let json = serde_json::to_string(claims).ok()?;
        let claims = claims::from_json(&json).ok()?;
        let request = Stage::new(api, stage).ok()?.arn(request)?;
        Some(Self { json, claims, request })
    }

    /// The same token at the same API and stage with another request.
    #[must_use]
    pub fn with_request(&self, request: &str) -> Option<Self> {
        let claims = claims::from_json(&self.json).ok()?;
        let request = Stage::new(self.request.api(), self.request.stage()).ok()?.arn(request)?;
        Some(Self { json: self.json.clone(), claims, request })
    }

    /// `METHOD /path`.
    #[must_use]
    pub fn request_text(&self) -> String {
        format!("{} {}", self.request.method(), self.request.untrusted_path())
    }

    /// The request as a shape.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape(self.request.method_and_path().to_owned())
    }

    /// What the rules say.
    #[must_use]
    pub fn verdict(&self, rules: &Rules) -> Verdict {
        render(&rules.grants(&self.claims, &self.request), &self.request, OPTIONS).verdict
    }

    /// Whether the rules allow the request.
    #[must_use]
    pub fn is_allowed(&self, rules: &Rules) -> bool {
        matches!(self.verdict(rules), Verdict::Allowed { .. })
    }

    /// Whether a route of the token is the request with one segment in place of each `*`. A slash at
    /// the end counts for nothing.
    #[must_use]
    pub fn is_granted_at_its_place(&self, rules: &Rules) -> bool {
        let own = self.shape().0;
        let own = own.strip_suffix('/').unwrap_or(&own);
        let own = [Shape(own.to_owned()), Shape(format!("{own}/"))];
        let grants = rules.grants(&self.claims, &self.request);
        let mut routes = grants.allow.iter().filter(|(resource, _)| resource.len() < MAX_RESOURCE);
        routes.any(|(resource, _)| {
            let route = Shape(resource.replace('*', &shape::SEGMENT.to_string()));
            own.iter().any(|own| route.covers(own))
        })
    }

    /// The proof of a finding.
    #[must_use]
    pub fn witness(&self, answer: &str) -> Witness {
        Witness {
            claims: self.json.clone(),
            request: self.request_text(),
            stage: self.request.stage().to_owned(),
            api: self.request.api().to_owned(),
            answer: answer.to_owned(),
        }
    }
}

/// Values that the rules do not name, so that they stand for every other value.
#[derive(Debug, Clone)]
pub struct Fresh(Vec<String>);

impl Fresh {
    /// Two lists of values that are in none of these files. The second is for patterns with digits
    /// between their captures.
    #[must_use]
    pub fn lists(files: &[&str]) -> [Self; 2] {
        let is_new = |value: &String| files.iter().all(|file| !file.contains(value.as_str()));
        let list = |ends: &[&str]| {
            let letters = ["x", "q", "z", "k", "w", "j", "y", "v"];
            let values = ends.iter().flat_map(|end| letters.iter().map(move |letter| format!("{letter}{end}")));
            Self(values.filter(is_new).take(FRESH).collect())
        };
        [list(&["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]), list(&["a", "o", "ab", "ob", "um", "ix"])]
    }

    /// Value number `number`.
    #[must_use]
    pub fn value(&self, number: usize) -> &str {
        self.0.get(number % self.0.len().max(1)).map_or("x", String::as_str)
    }

    /// A value in place of a `*`. No capture gets it.
    fn filler(&self) -> &str {
        self.value(0)
    }
}

/// How many fresh values a list has at most.
const FRESH: usize = 40;

/// A part of the rules that a token shall have a way for, with the values of some captures of its
/// route.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w, 'r> {
    /// The part.
    pub part: &'w Part<'r>,
    /// As they are in the path.
    pub captures: &'w BTreeMap<usize, String>,
}

/// What a claim shall be in a token.
#[derive(Debug, Default)]
struct Wish {
    values: BTreeSet<String>,
    is_present: bool,
    is_absent: bool,
}

/// The claims of a token that has a way for all of these parts, and that has the claims of `present`
/// too. `None` if they contradict each other.
#[must_use]
pub fn token(wanted: &[Wanted<'_, '_>], present: &[ClaimName], fresh: &Fresh) -> Option<Map<String, Value>> {
    let mut wishes: BTreeMap<&ClaimName, Wish> = BTreeMap::new();
    for (number, one) in wanted.iter().enumerate() {
        let mut values = Values::new(one, number, fresh);
        for need in &one.part.needs {
            let wish = wishes.entry(&need.claim).or_default();
            match &need.test {
                NeedTest::OneOf(texts) => wish.values.extend(texts.first().map(|text| (*text).to_owned())),
                NeedTest::Captured(patterns) => {
                    wish.values.insert(values.fill(patterns.first()?.pieces())?);
                }
                NeedTest::Present(true) => wish.is_present = true,
                NeedTest::Present(false) => wish.is_absent = true,
            }
        }
    }
    for claim in present {
        wishes.entry(claim).or_default().is_present = true;
    }
    let mut token = Map::new();
    for (claim, mut wish) in wishes {
        if wish.is_absent {
            if wish.is_present || !wish.values.is_empty() {
                return None;
            }
            continue;
        }
        if wish.values.is_empty() {
            wish.values.insert(fresh.value(FRESH - 1).to_owned());
        }
        put(&mut token, claim, wish.values)?;
    }
    Some(token)
}

/// Claims that the rule of `part` cannot read or write, each with `wanted`'s claims: a value of an
/// unsupported type, one with a character that no route may have, and one that can be read in two
/// ways.
#[must_use]
pub fn broken_tokens(wanted: &Part<'_>, part: &Part<'_>, fresh: &Fresh) -> Vec<Map<String, Value>> {
    let none = BTreeMap::new();
    let own = Wanted { part: wanted, captures: &none };
    let Some(whole) = token(&[own, Wanted { part, captures: &none }], &[], fresh) else { return Vec::new() };
    let mut tokens = Vec::new();
    for need in part.values() {
        let mut unsupported = whole.clone();
        let (outer, name) = place(&need.claim);
        if let Some(object) = object(&mut unsupported, outer) {
            object.insert(name.to_owned(), serde_json::json!([[fresh.value(1)]]));
        }
        tokens.push(unsupported);
        let NeedTest::Captured(patterns) = &need.test else { continue };
        for pattern in *patterns {
            let texts = pattern.pieces().into_iter().filter_map(|piece| match piece {
                Piece::Literal(text) => Some(text),
                Piece::Capture(_) => None,
            });
            for odd in texts.chain(["/".to_owned()]) {
                let value: String = pattern
                    .pieces()
                    .into_iter()
                    .map(|piece| match piece {
                        Piece::Literal(text) => text,
                        Piece::Capture(_) => format!("{}{odd}{}", fresh.value(1), fresh.value(2)),
                    })
                    .collect();
                let mut broken = whole.clone();
                let Some(object) = object(&mut broken, outer) else { continue };
                let earlier = object.remove(name);
                let mut values: Vec<Value> = match earlier {
                    Some(Value::Array(values)) => values,
                    Some(value) => vec![value],
                    None => Vec::new(),
                };
                values.push(value.clone().into());
                object.insert(name.to_owned(), values.into());
                tokens.push(broken.clone());
                // A claim that is one string.
                if let Some(object) = self::object(&mut broken, outer) {
                    object.insert(name.to_owned(), value.into());
                }
                tokens.push(broken);
            }
        }
    }
    tokens
}

/// The names of the objects in which a claim is, and its own name.
fn place(claim: &ClaimName) -> (&[String], &str) {
    match claim {
        ClaimName::Scopes => (&[], "scp"),
        ClaimName::Member(name) => (&[], name),
        ClaimName::Pointer(path) => path.split_last().map_or((&[], ""), |(last, outer)| (outer, last.as_str())),
    }
}

/// The object with these names inside of the token. `None` if one of them is something else.
fn object<'t>(token: &'t mut Map<String, Value>, names: &[String]) -> Option<&'t mut Map<String, Value>> {
    let mut object = token;
    for name in names {
        object = object.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()?;
    }
    Some(object)
}

/// Puts values into a claim: one as a string, several as an array.
fn put(token: &mut Map<String, Value>, claim: &ClaimName, values: BTreeSet<String>) -> Option<()> {
    let mut values: Vec<_> = values.into_iter().map(Value::from).collect();
    let is_scopes = *claim == ClaimName::Scopes;
    let value = if values.len() == 1 && !is_scopes { values.pop()? } else { Value::from(values) };
    let (outer, name) = place(claim);
    object(token, outer)?.insert(name.to_owned(), value).is_none().then_some(())
}

/// The values of a rule's captures.
struct Values<'w> {
    known: BTreeMap<String, String>,
    /// The next fresh value.
    next: usize,
    fresh: &'w Fresh,
}

impl<'w> Values<'w> {
    fn new(wanted: &Wanted<'_, '_>, number: usize, fresh: &'w Fresh) -> Self {
        let name = |(index, text): (&usize, &String)| (wanted.part.capture_name(*index).to_owned(), text.clone());
        Self { known: wanted.captures.iter().map(name).collect(), next: number * 8, fresh }
    }

    /// A request to the route of `part`, with the values that its needs give the captures.
    fn request(mut self, part: &Part<'_>) -> Option<String> {
        for need in &part.needs {
            if let NeedTest::Captured(patterns) = &need.test {
                self.fill(patterns.first()?.pieces())?;
            }
        }
        let filler = self.fresh.filler();
        Some(part.shape.request(filler, |index| self.known.get(part.capture_name(index)).cloned().unwrap_or_default()))
    }

    /// A value that the pattern matches. `None` if a text of the path is not one of its spellings.
    fn fill(&mut self, pieces: Vec<Piece>) -> Option<String> {
        let mut value = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(text) => value.push_str(&text),
                Piece::Capture(name) => {
                    let known = self.known.entry(name).or_insert_with(|| {
                        self.next += 1;
                        self.fresh.value(self.next).to_owned()
                    });
                    let decoded = decoded(known);
                    spellings(&decoded).contains(known).then(|| value.push_str(&decoded))?;
                }
            }
        }
        Some(value)
    }
}

/// A text of a path without its percent-encoding (RFC 3986 §2.1).
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii);
        if let Some(byte) = byte {
            decoded.push(char::from(byte));
            decoded.push_str(part.get(2..).unwrap_or_default());
        } else {
            decoded.push('%');
            decoded.push_str(part);
        }
    }
    decoded
}

/// The claims that a rule wants to be absent.
#[must_use]
pub fn wanted_absent(parts: &[Part<'_>]) -> Vec<ClaimName> {
    let needs = parts.iter().flat_map(|part| &part.needs);
    let absent = needs.filter(|need| matches!(need.test, NeedTest::Present(false)));
    let claims: BTreeSet<_> = absent.map(|need| need.claim.clone()).collect();
    claims.into_iter().collect()
}

/// Choices of these claims: none, each alone, all.
#[must_use]
pub fn choices(claims: &[ClaimName]) -> Vec<Vec<ClaimName>> {
    let mut choices = vec![Vec::new()];
    choices.extend(claims.iter().map(|claim| vec![claim.clone()]));
    if claims.len() > 1 {
        choices.push(claims.to_vec());
    }
    choices
}

/// The most pairs of an API and a stage that are tried.
const MAX_PLACES: usize = 200;

/// Finds tokens and requests. All rules that are asked are known to it.
#[derive(Debug)]
pub struct Search<'r> {
    fresh: [Fresh; 2],
    /// Claims that are added to a token, one choice after the other.
    present: Vec<Vec<ClaimName>>,
    /// All APIs and stages that the rules name.
    apis: BTreeSet<&'r str>,
    stages: BTreeSet<&'r str>,
    /// The API and the stage of all requests, if they are given.
    only_api: Option<&'r str>,
    only_stage: Option<&'r str>,
}

impl<'r> Search<'r> {
    /// A search for these rules, each with the text of its file.
    #[must_use]
    pub fn new(files: &[(&'r Rules, &str)]) -> Self {
        let texts: Vec<_> = files.iter().map(|(_, text)| *text).collect();
        let rules: Vec<&'r Rule> = files.iter().flat_map(|(rules, _)| rules.in_file_order()).collect();
        let all: Vec<_> = rules.iter().flat_map(|rule| parts_of(rule)).collect();
        Self {
            fresh: Fresh::lists(&texts),
            present: choices(&wanted_absent(&all)),
            apis: rules.iter().flat_map(|rule| &rule.apis).map(String::as_str).collect(),
            stages: rules.iter().flat_map(|rule| &rule.stages).map(String::as_str).collect(),
            only_api: None,
            only_stage: None,
        }
    }

    /// The same search, with requests to this API and this stage only.
    #[must_use]
    pub fn only_at(self, api: Option<&'r str>, stage: Option<&'r str>) -> Self {
        Self { only_api: api, only_stage: stage, ..self }
    }

    /// The APIs and stages at which a request to this part can be made: those that it names, or else
    /// one that no rule names, and those that other rules name.
    fn targets(&self, part: &Part<'r>) -> Vec<(String, String)> {
        let choose = |own: &[String], all: &BTreeSet<&str>, usual: &str, only: Option<&str>| -> Vec<String> {
            if let Some(only) = only {
                let is_possible = own.is_empty() || own.iter().any(|name| name == only);
                return is_possible.then(|| only.to_owned()).into_iter().collect();
            }
            if !own.is_empty() {
                return own.to_vec();
            }
            let unnamed = iter::once(usual.to_owned()).chain((1..).map(|number| format!("{usual}{number}")));
            let unnamed = unnamed.filter(|name| !all.contains(name.as_str())).take(1);
            unnamed.chain(all.iter().map(|name| (*name).to_owned())).collect()
        };
        let apis = choose(part.apis, &self.apis, DEFAULT_API, self.only_api);
        let stages = choose(part.stages, &self.stages, DEFAULT_STAGE, self.only_stage);
        let places = apis.iter().flat_map(|api| stages.iter().map(move |stage| (api.clone(), stage.clone())));
        places.take(MAX_PLACES).collect()
    }

    /// A token that has a way for `part`, and a request to its route, that `accept` takes.
    #[must_use]
    pub fn alone(&self, part: &Part<'r>, accept: &dyn Fn(&Scene) -> bool) -> Option<Scene> {
        self.with(part, &[], &["?", "?/?", ""], "", accept)
    }

    /// A token that has a way for `part` and for each of `others`, and a request to the route of
    /// `part`, that `accept` takes. `fillers` are what is in place of a `*`, with `?` for a value.
    /// Each capture of `part` is `start` and a value.
    #[must_use]
    pub fn with(
        &self,
        part: &Part<'r>,
        others: &[&Part<'r>],
        fillers: &[&str],
        start: &str,
        accept: &dyn Fn(&Scene) -> bool,
    ) -> Option<Scene> {
        self.fresh.iter().find_map(|fresh| {
            let capture = |index| (index, format!("{start}{}", fresh.value(index + 1)));
            let captures = (0..part.rule.route_captures.len()).map(capture);
            let captures: BTreeMap<_, _> = captures.collect();
            let none = BTreeMap::new();
            let mut wanted = vec![Wanted { part, captures: &captures }];
            wanted.extend(others.iter().map(|part| Wanted { part, captures: &none }));
            let value = |index: usize| captures.get(&index).cloned().unwrap_or_default();
            fillers.iter().find_map(|filler| {
                let request = part.shape.request(&filler.replace('?', fresh.filler()), value);
                self.first(&wanted, &request, fresh, accept)
            })
        })
    }

    /// A token that has a way for each of `parts`, and a request that is in all of their routes and
    /// in the other shapes, that `accept` takes.
    #[must_use]
    pub fn common(&self, parts: &[&Part<'r>], others: &[&Shape], accept: &dyn Fn(&Scene) -> bool) -> Option<Scene> {
        let shapes: Vec<_> = parts.iter().map(|part| &part.shape).chain(others.iter().copied()).collect();
        shape::FILLERS.iter().find_map(|filler| {
            let common = shape::common(&shapes, *filler)?;
            let wanted: Vec<_> =
                parts.iter().zip(&common.captures).map(|(part, captures)| Wanted { part, captures }).collect();
            let request = common.request.replacen('/', " /", 1);
            self.fresh.iter().find_map(|fresh| self.first(&wanted, &request, fresh, accept))
        })
    }

    /// A token that has a way for `granted`, with a claim that the rule of `denied` cannot read, and a
    /// request to the route of `granted` and to the other shapes, that `accept` takes.
    #[must_use]
    pub fn broken(
        &self,
        granted: &Part<'r>,
        denied: &Part<'r>,
        others: &[&Shape],
        accept: &dyn Fn(&Scene) -> bool,
    ) -> Option<Scene> {
        let any_value = granted.shape.any_value();
        let shapes: Vec<_> = [&any_value].into_iter().chain(others.iter().copied()).collect();
        let requests: Vec<_> = if granted.rule.route_captures.is_empty() {
            shape::common(&shapes, 'x').into_iter().map(|common| common.request.replacen('/', " /", 1)).collect()
        } else {
            Vec::new()
        };
        self.fresh.iter().find_map(|fresh| {
            let scenes = broken_tokens(granted, denied, fresh).into_iter().flat_map(|token| {
                // The values of the captures are those that the token was made with.
                let values = Values::new(&Wanted { part: granted, captures: &BTreeMap::new() }, 0, fresh);
                let own = values.request(granted);
                let of_token: Vec<_> = requests.iter().cloned().chain(own).collect();
                let targets = self.targets(denied);
                of_token
                    .into_iter()
                    .flat_map(move |request| {
                        let token = token.clone();
                        targets
                            .clone()
                            .into_iter()
                            .filter_map(move |(api, stage)| Scene::new(&token, &request, &api, &stage))
                    })
                    .collect::<Vec<_>>()
            });
            scenes.into_iter().find(accept)
        })
    }

    /// A token that has ways for as many of these parts as one can, and this request.
    #[must_use]
    pub fn of_all(&self, parts: &[Part<'r>], request: &str) -> Option<Scene> {
        let [fresh, _] = &self.fresh;
        let none = BTreeMap::new();
        let (mut wanted, mut claims) = (Vec::new(), Map::new());
        let mut last_rule = None;
        for part in parts {
            // One choice of each rule.
            if last_rule.replace(&part.rule.name) == Some(&part.rule.name) {
                continue;
            }
            wanted.push(Wanted { part, captures: &none });
            let all = token(&wanted, &[], fresh)
                .filter(|token| claims::from_json(&Value::from(token.clone()).to_string()).is_ok());
            match all {
                Some(all) => claims = all,
                None => drop(wanted.pop()),
            }
        }
        let target = parts.first().and_then(|part| self.targets(part).into_iter().next());
        let usual = (self.only_api.unwrap_or(DEFAULT_API), self.only_stage.unwrap_or(DEFAULT_STAGE));
        let (api, stage) = target.unwrap_or((usual.0.to_owned(), usual.1.to_owned()));
        Scene::new(&claims, request, &api, &stage)
    }

    /// The first scene with this request that is accepted.
    fn first(
        &self,
        wanted: &[Wanted<'_, 'r>],
        request: &str,
        fresh: &Fresh,
        accept: &dyn Fn(&Scene) -> bool,
    ) -> Option<Scene> {
        let first = wanted.first()?;
        let tokens: Vec<_> = self.present.iter().filter_map(|present| token(wanted, present, fresh)).collect();
        self.targets(first.part).iter().find_map(|(api, stage)| {
            let scenes = tokens.iter().filter_map(|token| Scene::new(token, request, api, stage));
            scenes.into_iter().find(accept)
        })
    }
}
