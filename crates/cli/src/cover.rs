//! `okta-policy cover`: whether the rules and the API belong together.

use std::{collections::BTreeSet, ops::Range, path::PathBuf, sync::Arc};

use clap::Args;
use okta_authorizer_policy::{Effect, Rules};

use crate::{
    api::{self, Access, Api, BasePath, Note, Operation},
    arguments::{FormatOption, RulesOption},
    cases::{self, Expected},
    files::{self, Stop},
    meaning::{Part, by_written, parts},
    report::{File, Finding, Level, Place, Report, Witness, count},
    request::{self, DEFAULT_API, DEFAULT_STAGE, Stage},
    shape::{FILLERS, SEGMENT, SEGMENTS, Shape, common},
    witness::{Scene, Search},
};

/// No rule grants an operation.
pub const UNGRANTED_OPERATION: &str = "ungranted-operation";
/// No operation has a route.
pub const UNREACHED_ROUTE: &str = "unreached-route";
/// An operation has no authorizer.
pub const OPEN_OPERATION: &str = "open-operation";
/// A `*` reaches an operation that is not at its place in the path.
pub const REACHED_ACROSS_SLASH: &str = "reached-across-slash";
/// What a `*` reaches.
pub const WILDCARD_REACH: &str = "wildcard-reach";
/// What the reader of the API left out or could not know.
pub const UNSEEN: &str = "unseen";
/// An expectation of a finding that there is not.
pub const STALE_EXPECTED: &str = "stale-expected";

/// The kinds that `[[expected]]` can name.
pub const EXPECTABLE: [&str; 4] = [UNGRANTED_OPERATION, UNREACHED_ROUTE, OPEN_OPERATION, REACHED_ACROSS_SLASH];

/// Holds the rules against an API: what nobody may call, what does not exist, what is open
#[derive(Debug, Args)]
#[command(
    after_help = "The API is OpenAPI 2.0, 3.0 or 3.1 (also as `aws apigateway get-export` writes it), or a SAM or
CloudFormation template, in JSON or YAML.

A finding that is meant is silenced in policy.tests.toml:
  [[expected]]
  finding = \"open-operation\"
  on      = \"GET /health\"
  reason  = \"the load balancer has no token\"
If no operation has an authorizer, there is one finding for the whole file, and `on` is \"ANY /*\".

Examples:
  okta-policy cover --api openapi.yaml
  okta-policy cover --api template.yaml --format github
  aws apigateway get-export --rest-api-id a1b2c3d4e5 --stage-name prod --export-type oas30 \\
    --parameters extensions=apigateway api.json && okta-policy cover --api api.json"
)]
pub struct Arguments {
    /// OpenAPI, SAM or CloudFormation
    #[arg(long, value_name = "FILE")]
    api: PathBuf,
    #[command(flatten)]
    rules: RulesOption,
    /// What an import into API Gateway does with the API's base path
    #[arg(long, value_enum, default_value_t)]
    base_path: BasePath,
    /// The file with `[[expected]]`. Without it, policy.tests.toml next to the rules that are named, if there is one
    #[arg(long, value_name = "FILE")]
    tests: Option<PathBuf>,
    /// Only rules for this stage. Without it, rules for any stage
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Only rules for the API with this id. Without it, rules for any API
    #[arg(long, value_name = "ID")]
    api_id: Option<String>,
    /// How findings are printed
    #[command(flatten)]
    pub format: FormatOption,
}

/// The findings, and whether there is none.
///
/// # Errors
/// If a file cannot be read.
pub fn run(arguments: &Arguments) -> Result<(String, bool), Stop> {
    let (rules, file) = files::rules(&arguments.rules.file()?)?;
    let api = api::read(&arguments.api, arguments.base_path)?;
    let tests = if let Some(tests) = &arguments.tests {
        Some(files::read(tests)?)
    } else {
        let tests = arguments.rules.tests();
        tests.exists().then(|| files::read(&tests)).transpose()?
    };
    let expected = match &tests {
        Some(tests) => cases::read(tests).map_err(Stop::Mistakes)?.expected,
        None => Vec::new(),
    };
    // If all of them are open, that is a finding.
    let is_ours = api.operations.iter().any(|operation| operation.access == Access::Authorizer);
    let is_open = !api.operations.is_empty()
        && api.operations.iter().all(|operation| matches!(operation.access, Access::Open(_)));
    if !is_ours && !is_open {
        let reason = "no operation has this authorizer, which is of type token, so the rules have no effect";
        return Err(format!("{}: {reason}", api.file.name).into());
    }
    let target = Target { stage: arguments.stage.as_deref(), api: arguments.api_id.as_deref() };
    let (api_id, stage) = target.names();
    Stage::new(api_id, stage)?;
    let found = cover(&rules, &file, &api, target);
    let mut findings = silenced(found, &expected, tests.as_ref());
    let result = count(&findings).unwrap_or_else(|| "good".to_owned());
    findings.sort_by_key(|finding| finding.level);
    let summary = format!("{} with {}: {result}", file.name, api.file.name);
    let report = Report { findings, summary };
    Ok((report.print(arguments.format.format), !report.has_errors()))
}

/// The stage and the API for which rules must be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target<'t> {
    /// `None` is any stage.
    pub stage: Option<&'t str>,
    /// `None` is any API.
    pub api: Option<&'t str>,
}

impl Target<'_> {
    fn has(&self, part: &Part<'_>) -> bool {
        let is_in = |name: Option<&str>, names: &[String]| {
            names.is_empty() || name.is_none_or(|name| names.iter().any(|other| other == name))
        };
        is_in(self.stage, part.stages) && is_in(self.api, part.apis)
    }

    /// An API and a stage of it.
    fn names(&self) -> (&str, &str) {
        (self.api.unwrap_or(DEFAULT_API), self.stage.unwrap_or(DEFAULT_STAGE))
    }
}

/// A finding, and the operation or route that `[[expected]]` names for it.
#[derive(Debug)]
pub struct Found {
    /// The finding.
    pub finding: Finding,
    /// `METHOD /path` as it is written.
    pub on: String,
    /// The operations that a finding about the whole file is about. It is expected, too, if each of
    /// them is.
    pub operations: Vec<String>,
}

/// What `[[expected]]` names for a finding about the whole file.
const WHOLE_FILE: &str = "ANY /*";

/// All findings.
#[must_use]
pub fn cover<'r>(rules: &'r Rules, file: &'r Arc<File>, api: &'r Api, target: Target<'r>) -> Vec<Found> {
    let of_target = |effect| -> Vec<_> { parts(rules, effect).into_iter().filter(|part| target.has(part)).collect() };
    let allow = of_target(Effect::Allow);
    let coverage = Coverage {
        rules,
        file,
        api,
        target,
        search: Search::new(&[(rules, &file.text)]).only_at(target.api, target.stage),
        at_their_place: allow.iter().map(|part| part.shape.one_segment()).collect(),
        allow,
        deny: of_target(Effect::Deny),
    };
    let operations: Vec<_> =
        api.operations.iter().map(|operation| (operation, Shape::of_api(api, operation))).collect();
    let mut found = Vec::new();
    found.extend(coverage.open());
    found.extend(operations.iter().filter_map(|(operation, shapes)| coverage.ungranted(operation, shapes)));
    found.extend(coverage.unreached(&operations));
    found.extend(coverage.across(&operations));
    found.extend(coverage.reach(&operations));
    found.extend(api.notes.iter().map(unseen));
    found
}

/// Something that the reader of the API left out or could not know.
fn unseen(note: &Note) -> Found {
    let finding = Finding {
        level: Level::Note,
        kind: UNSEEN,
        message: note.message.clone(),
        places: vec![note.place.clone()],
        advice: Vec::new(),
        witness: None,
    };
    Found { finding, on: String::new(), operations: Vec::new() }
}

/// The findings that no expectation names, and the expectations that name nothing.
#[must_use]
pub fn silenced(found: Vec<Found>, expected: &[Expected], tests: Option<&Arc<File>>) -> Vec<Finding> {
    let names = |expected: &Expected, on: &str, found: &Found| {
        expected.finding == found.finding.kind && (*on == found.on || found.operations.iter().any(|name| name == on))
    };
    let mut stale = Vec::new();
    for expected in expected {
        for (on, span) in &expected.on {
            if let Some(tests) = tests.filter(|_| !found.iter().any(|found| names(expected, on, found))) {
                stale.push(Finding {
                    level: Level::Error,
                    kind: STALE_EXPECTED,
                    message: format!("there is no finding `{}` on `{on}`", expected.finding),
                    places: vec![Place::new(tests, span.clone())],
                    advice: vec![
                        "remove it, or write the operation or the route as its file does; for reached-across-slash it \
                         is the operation"
                            .to_owned(),
                    ],
                    witness: None,
                });
            }
        }
    }
    let is_named = |kind: &str, name: &String| {
        let mut of_kind = expected.iter().filter(|expected| expected.finding == kind);
        of_kind.any(|expected| expected.on.iter().any(|(on, _)| on == name))
    };
    let is_expected = |found: &Found| {
        let (kind, each) = (found.finding.kind, &found.operations);
        is_named(kind, &found.on) || (!each.is_empty() && each.iter().all(|name| is_named(kind, name)))
    };
    found.into_iter().filter(|found| !is_expected(found)).map(|found| found.finding).chain(stale).collect()
}

struct Coverage<'r> {
    rules: &'r Rules,
    file: &'r Arc<File>,
    api: &'r Api,
    target: Target<'r>,
    search: Search<'r>,
    allow: Vec<Part<'r>>,
    /// The same routes, except that each `*` is one segment.
    at_their_place: Vec<Shape>,
    deny: Vec<Part<'r>>,
}

/// An operation with its shapes.
type Shaped<'a> = (&'a Operation, Vec<Shape>);

impl<'r> Coverage<'r> {
    fn route(&self, part: &Part<'_>) -> (Range<usize>, String) {
        (part.span(), self.file.string(part.span()).to_owned())
    }

    /// Whether API Gateway sends the request to this operation.
    fn leads_to(&self, scene: &Scene, operation: &Operation) -> bool {
        self.api.leads_to(&scene.shape().0, operation)
    }

    /// Whether API Gateway sends a request to this route to this operation.
    fn reaches(&self, route: &Shape, (operation, shapes): &Shaped<'_>) -> bool {
        shapes.iter().filter(|shape| shape.starts_like(route)).any(|shape| {
            FILLERS
                .iter()
                .filter_map(|filler| common(&[route, shape], *filler))
                .any(|common| self.api.leads_to(&common.request, operation))
        })
    }

    /// Operations without an authorizer: one finding for each, or one if no operation has one.
    fn open(&self) -> Vec<Found> {
        // A browser's preflight has no token.
        let is_preflight = |operation: &Operation| operation.methods.iter().all(|method| *method == "OPTIONS");
        let is_callable = |operation: &&Operation| {
            !is_preflight(operation) && self.request_to(operation, &Shape::of_api(self.api, operation)).is_some()
        };
        let operations: Vec<_> = self.api.operations.iter().filter(is_callable).collect();
        let reason = |operation: &&'r Operation| match &operation.access {
            Access::Open(reason) => Some((*operation, reason.as_str())),
            Access::Authorizer | Access::Other(_) => None,
        };
        let open: Vec<_> = operations.iter().filter_map(reason).collect();
        let [(first, _), _, ..] = open.as_slice() else {
            return open.into_iter().map(|(operation, reason)| self.open_operation(operation, reason)).collect();
        };
        if open.len() < operations.len() {
            return open.into_iter().map(|(operation, reason)| self.open_operation(operation, reason)).collect();
        }
        let reasons: BTreeSet<_> = open.iter().map(|(_, reason)| *reason).collect();
        let reasons = reasons.into_iter().collect::<Vec<_>>().join("; or because ");
        let name = &self.api.file.name;
        let message = format!("all {} operations of {name} are open, each because {reasons}", open.len());
        let mut found = self.open_operation(first, "");
        found.finding.message = message;
        found.finding.advice = vec![
            "give each operation a `security` with the authorizer's scheme; API Gateway ignores `security` at document \
             level. In a SAM template, `Auth.DefaultAuthorizer` of the API is enough"
                .to_owned(),
            format!("or expect it in policy.tests.toml with on = \"{WHOLE_FILE}\""),
        ];
        let operations = open.iter().map(|(operation, _)| operation.name()).collect();
        vec![Found { on: WHOLE_FILE.to_owned(), operations, ..found }]
    }

    fn open_operation(&self, operation: &Operation, reason: &str) -> Found {
        let message = format!("`{}` is open, because {reason}", operation.name());
        let mut found = on_operation(OPEN_OPERATION, operation, message);
        let (api, stage) = self.target.names();
        let request = self.request_to(operation, &Shape::of_api(self.api, operation));
        found.finding.witness = request.map(|request| Witness {
            claims: "{}".to_owned(),
            request,
            stage: stage.to_owned(),
            api: api.to_owned(),
            answer: "the authorizer is not asked, so a request without a token is let through too".to_owned(),
        });
        found.finding.advice = vec!["give the operation the authorizer, or expect it in policy.tests.toml".to_owned()];
        found
    }

    /// An operation that no token may call.
    fn ungranted(&self, operation: &Operation, shapes: &[Shape]) -> Option<Found> {
        if operation.access != Access::Authorizer {
            return None;
        }
        let mut denied: Option<Scene> = None;
        for part in &self.allow {
            for shape in shapes.iter().filter(|shape| shape.starts_like(&part.shape)) {
                let is_granted = |scene: &Scene| scene.is_allowed(self.rules) && self.leads_to(scene, operation);
                if self.search.common(&[part], &[shape], &is_granted).is_some() {
                    return None;
                }
                let leads_here = |scene: &Scene| self.leads_to(scene, operation);
                denied = denied.or_else(|| self.search.common(&[part], &[shape], &leads_here));
            }
        }
        // Other paths can take all requests. Then no rule could grant it.
        let request = self.request_to(operation, shapes)?;
        let name = operation.name();
        let message = match &denied {
            None => format!("no rule grants `{name}`, so it is 403 for everyone"),
            Some(_) => format!("`{name}` is granted and always denied, so it is 403 for everyone"),
        };
        let mut found = on_operation(UNGRANTED_OPERATION, operation, message);
        let scene = denied.or_else(|| self.search.of_all(&self.allow, &request));
        found.finding.witness = scene.map(|scene| scene.witness(&self.answer(&scene)));
        found.finding.advice = vec!["grant it, remove it, or expect it in policy.tests.toml".to_owned()];
        Some(found)
    }

    /// A request that leads to this operation.
    fn request_to(&self, operation: &Operation, shapes: &[Shape]) -> Option<String> {
        let of_shape = |shape: &Shape| FILLERS.map(|filler| shape.request(&filler.to_string(), |_| String::new()));
        let leads_here = |request: &String| self.api.leads_to(&request.replacen(' ', "", 1), operation);
        shapes.iter().flat_map(of_shape).find(leads_here)
    }

    /// Routes that lead to no operation.
    fn unreached(&self, operations: &[Shaped<'_>]) -> Vec<Found> {
        // One value can have two spellings in a path, so each place of a capture is compared alone.
        let reaches = |part: &Part<'_>| {
            let route = part.shape.any_value();
            operations.iter().any(|operation| self.reaches(&route, operation))
        };
        let mut found = Vec::new();
        for parts in by_written(&self.allow).into_iter().chain(by_written(&self.deny)) {
            let Some(part) = parts.first().filter(|_| !parts.iter().any(|part| reaches(part))) else { continue };
            let (span, route) = self.route(part);
            let does = if part.rule.name.effect == Effect::Allow { "granted" } else { "denied" };
            let nearest = operations.iter().map(|(operation, _)| operation.name());
            let nearest = nearest.min_by_key(|name| strsim::levenshtein(&comparable(name), &comparable(&route)));
            let scene = self
                .search
                .alone(part, &|scene| scene.is_allowed(self.rules))
                .or_else(|| self.search.alone(part, &|_| true));
            let finding = Finding {
                level: Level::Error,
                kind: UNREACHED_ROUTE,
                message: format!("no operation of {} has the path of `{route}`, which is {does}", self.api.file.name),
                places: vec![Place::new(self.file, span)],
                advice: nearest.map(|nearest| format!("the nearest operation is `{nearest}`")).into_iter().collect(),
                witness: scene.map(|scene| {
                    scene.witness(&format!("{}, and API Gateway has no such operation", self.answer(&scene)))
                }),
            };
            found.push(Found { finding, on: route, operations: Vec::new() });
        }
        found
    }

    /// Operations that a `*` reaches although they are not at its place: with a slash in it, or with
    /// nothing in it.
    fn across(&self, operations: &[Shaped<'_>]) -> Vec<Found> {
        let mut found = Vec::new();
        for parts in by_written(&self.allow) {
            if !parts.iter().any(|part| part.shape.has_star()) {
                continue;
            }
            for (operation, shapes) in operations {
                if operation.access != Access::Authorizer {
                    continue;
                }
                let pairs = parts.iter().flat_map(|part| shapes.iter().map(move |shape| (*part, shape)));
                let crossing = pairs.filter(|(part, shape)| part.shape.starts_like(shape));
                let scene = crossing.filter(|(part, shape)| !self.is_meant(part, shape, operation)).find_map(
                    |(part, shape)| {
                        let is_granted = |scene: &Scene| {
                            self.leads_to(scene, operation)
                                && scene.is_allowed(self.rules)
                                && !scene.is_granted_at_its_place(self.rules)
                                && !self.is_allowed_without_slash(scene)
                        };
                        let scene = self.search.common(&[part], &[shape], &is_granted)?;
                        Some((part, scene))
                    },
                );
                let Some((part, scene)) = scene else { continue };
                let ((span, route), name) = (self.route(part), operation.name());
                let is_empty = scene.shape().0.ends_with('/');
                let how = if is_empty { "by a slash at the end of the path" } else { "across a slash" };
                let finding = Finding {
                    level: Level::Error,
                    kind: REACHED_ACROSS_SLASH,
                    message: format!("`{route}` reaches `{name}` {how}"),
                    places: vec![
                        Place::new(self.file, span),
                        Place { label: Some("this operation".to_owned()), ..operation.place.clone() },
                    ],
                    advice: vec![
                        "if it is meant, give the rule a route of its own for the operation, with the same captures, or \
                         expect it in policy.tests.toml"
                            .to_owned(),
                        "if it is not meant, write routes for the paths that are, instead of the `*`".to_owned(),
                    ],
                    witness: Some(scene.witness(&self.answer(&scene))),
                };
                found.push(Found { finding, on: name, operations: Vec::new() });
            }
        }
        found
    }

    /// Whether the token may make the same request without the slash at its end, which leads to the
    /// same operation.
    fn is_allowed_without_slash(&self, scene: &Scene) -> bool {
        let without = scene.request_text().strip_suffix('/').and_then(|request| scene.with_request(request));
        without.is_some_and(|scene| scene.is_allowed(self.rules))
    }

    /// Whether the route has the operation at its own place in the path, or whether each token that
    /// has the route has another one for the operation.
    fn is_meant(&self, part: &Part<'r>, shape: &Shape, operation: &Operation) -> bool {
        let own: Vec<_> = Shape::of(operation).into_iter().filter(|own| own.method() == shape.method()).collect();
        let at_its_place = part.shape.one_segment();
        if own.iter().any(|own| common(&[&at_its_place, own], 'x').is_some()) {
            return true;
        }
        // `GET /files/*` is at the place of `/files/{proxy+}`.
        let own: Vec<_> = own.into_iter().map(|own| Shape(own.0.replace(SEGMENTS, &SEGMENT.to_string()))).collect();
        let mut others = self.allow.iter().zip(&self.at_their_place);
        others.any(|(other, at_its_place)| own.iter().any(|own| at_its_place.covers(own)) && part.has_way_of(other))
    }

    /// A token with one of these parts, and a request to one of these operations: one that is
    /// allowed, if there is one.
    fn at_one_of(&self, parts: &[&Part<'r>], operations: &[&Shaped<'_>]) -> Option<Scene> {
        let first = |accept: &dyn Fn(&Scene) -> bool| {
            operations.iter().find_map(|(operation, shapes)| {
                let is_good = |scene: &Scene| accept(scene) && self.leads_to(scene, operation);
                let pairs = shapes.iter().flat_map(|shape| parts.iter().map(move |part| (shape, *part)));
                let mut pairs = pairs.filter(|(shape, part)| shape.starts_like(&part.shape));
                pairs.find_map(|(shape, part)| self.search.common(&[part], &[shape], &is_good))
            })
        };
        first(&|scene| scene.is_allowed(self.rules)).or_else(|| first(&|_| true))
    }

    fn answer(&self, scene: &Scene) -> String {
        request::describe(&scene.verdict(self.rules))
    }

    /// What each `*` reaches.
    fn reach(&self, operations: &[Shaped<'_>]) -> Vec<Found> {
        let mut found = Vec::new();
        for parts in by_written(&self.allow) {
            let Some(part) = parts.first().filter(|part| part.shape.has_star()) else { continue };
            let is_reached = |shaped: &&Shaped<'_>| {
                shaped.0.access == Access::Authorizer && parts.iter().any(|part| self.reaches(&part.shape, shaped))
            };
            let reached: Vec<_> = operations.iter().filter(is_reached).collect();
            let names: Vec<_> = reached.iter().map(|(operation, _)| operation.name()).collect();
            if names.is_empty() {
                continue;
            }
            let (span, route) = self.route(part);
            let shown = names.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if names.len() > 10 { ", …" } else { "" };
            let plural = if names.len() == 1 { "" } else { "s" };
            let finding = Finding {
                level: Level::Note,
                kind: WILDCARD_REACH,
                message: format!("`{route}` reaches {} operation{plural}: {shown}{more}", names.len()),
                places: vec![Place::new(self.file, span)],
                advice: Vec::new(),
                witness: self.at_one_of(&parts, &reached).map(|scene| scene.witness(&self.answer(&scene))),
            };
            found.push(Found { finding, on: route, operations: Vec::new() });
        }
        found
    }
}

fn on_operation(kind: &'static str, operation: &Operation, message: String) -> Found {
    let finding = Finding {
        level: Level::Error,
        kind,
        message,
        places: vec![operation.place.clone()],
        advice: Vec::new(),
        witness: None,
    };
    Found { finding, on: operation.name(), operations: Vec::new() }
}

/// `METHOD /path` with `*` for each open segment.
fn comparable(text: &str) -> String {
    let segment = |segment: &str| if segment.contains('{') { "*".to_owned() } else { segment.to_owned() };
    text.split('/').map(segment).collect::<Vec<_>>().join("/")
}
