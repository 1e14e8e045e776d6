//! Test cases of a rules file: claims, and what a token with them may call and may not call.

mod read;

use std::{
    collections::BTreeSet,
    ops::Range,
    path::{Path, PathBuf},
    ptr, slice,
    sync::Arc,
};

use clap::Args;
use okta_authorizer_policy::{
    Effect, Failed, MethodArn, PolicyOptions, Rule, RuleEvaluation, RuleName, Rules, Verdict, covers,
};

use crate::{
    api::{self, Access, Api, BasePath},
    arguments::{
        DEFAULT_MAX_BYTES, DEFAULT_RULES, DEFAULT_TESTS, FormatOption, POLICY_FILE, PolicySize, rules_file, variable,
    },
    files::{self, Stop},
    reach::reach,
    report::{File, Finding, Level, Place, Report, Witness, count},
    request::{self, DEFAULT_API, DEFAULT_STAGE, FirstRequest, WAYS_OUT},
    why,
};

pub use read::{Case, Expected, Request, Tests, read};

/// Runs the test cases of a rules file
#[derive(Debug, Args)]
#[command(after_help = "A case:
  [[case]]
  name   = \"a user sees only their own account\"
  claims = { uid = \"00u1\" }
  allow  = [\"GET /users/00u1\"]
  deny   = [\"GET /users/00u2\"]
A case can have `stage` and `api` too, for rules that have them. With `only` in place of `allow`,
these requests must be allowed, and the rules must allow nothing else.

Each request is also judged under the policies that are made for the other requests of its case,
because API Gateway caches the policy of the first one. A rule or route that no request exercised is
a warning.

Examples:
  okta-policy test
  okta-policy test --strict
  okta-policy test my-policy.tests.toml --rules my-policy.toml
  okta-policy test --format github")]
pub struct Arguments {
    /// The file with the test cases
    #[arg(default_value = DEFAULT_TESTS)]
    tests: PathBuf,
    /// The rules file. Without it, policy.toml or function/policy.toml in the folder of the tests
    #[arg(long, value_name = "FILE", env = variable(POLICY_FILE))]
    rules: Option<PathBuf>,
    /// With `only`, every other operation of this API must be denied: OpenAPI, SAM or CloudFormation
    ///
    /// Without it, every other route of the rules must be denied.
    #[arg(long, value_name = "FILE")]
    api: Option<PathBuf>,
    /// What an import into API Gateway does with the API's base path
    #[arg(long, value_enum, default_value_t, requires = "api")]
    base_path: BasePath,
    #[command(flatten)]
    size: PolicySize,
    /// Warnings are errors
    #[arg(long)]
    strict: bool,
    /// How findings are printed
    #[command(flatten)]
    pub format: FormatOption,
}

/// The failures, and whether there is none.
///
/// # Errors
/// If a file cannot be read.
pub fn run(arguments: &Arguments) -> Result<(String, bool), Stop> {
    let folder = arguments.tests.parent().unwrap_or(Path::new(""));
    let rules = files::rules(&rules_file(arguments.rules.as_deref(), folder)?);
    let tests = read(&files::read(&arguments.tests)?);
    let (rules, file, tests) = match (rules, tests) {
        (Ok((rules, file)), Ok(tests)) => (rules, file, tests),
        // All mistakes at once.
        (Err(Stop::Mistakes(mut of_rules)), Err(of_tests)) => {
            of_rules.findings.extend(of_tests.findings);
            of_rules.summary = format!("{}; {}", of_rules.summary, of_tests.summary);
            return Err(Stop::Mistakes(of_rules));
        }
        (Err(stop), _) => return Err(stop),
        (Ok(_), Err(mistakes)) => return Err(Stop::Mistakes(mistakes)),
    };
    let api = arguments.api.as_deref().map(|api| api::read(api, arguments.base_path)).transpose()?;
    let mut report = judge(&rules, &file, &tests, api.as_ref(), arguments.size.options());
    if arguments.strict {
        report.be_strict();
    }
    report.summary = summary(&tests, &report.findings);
    Ok((report.print(arguments.format.format), !report.has_errors()))
}

fn summary(tests: &Tests, findings: &[Finding]) -> String {
    let (name, requests) = (&tests.file.name, tests.cases.iter().map(|case| case.requests.len()).sum::<usize>());
    let plural = if requests == 1 { "" } else { "s" };
    let has_errors = findings.iter().any(|finding| finding.level == Level::Error);
    let as_expected = if has_errors { "" } else { " as expected" };
    let counts = count(findings).map(|counts| format!(", {counts}")).unwrap_or_default();
    format!("{name}: {requests} request{plural}{as_expected}{counts}")
}

/// What the rules do otherwise than the cases expect, and what no case exercised.
#[must_use]
pub fn judge(rules: &Rules, file: &Arc<File>, tests: &Tests, api: Option<&Api>, options: PolicyOptions) -> Report {
    let mut judge = Judge { rules, file, tests, api, options, findings: Vec::new(), exercised: BTreeSet::new() };
    for case in &tests.cases {
        judge.case(case);
    }
    judge.untested();
    let summary = summary(tests, &judge.findings);
    Report { findings: judge.findings, summary }
}

struct Judge<'j> {
    rules: &'j Rules,
    file: &'j Arc<File>,
    tests: &'j Tests,
    api: Option<&'j Api>,
    options: PolicyOptions,
    findings: Vec<Finding>,
    /// The routes that a request of a case exercised: the rule, and the number of its string. The
    /// number is missing for a rule that decided without a route.
    exercised: BTreeSet<(&'j RuleName, Option<usize>)>,
}

/// What is said of one request.
struct Said<'s> {
    kind: &'static str,
    message: String,
    /// The requests of the command that shows more.
    explained: Vec<String>,
    /// The rule that decided.
    rule: Option<&'s RuleName>,
    advice: Vec<String>,
    answer: &'static str,
}

impl<'j> Judge<'j> {
    fn case(&mut self, case: &'j Case) {
        let first = |arn: &MethodArn| FirstRequest::new(self.rules, &case.claims, self.options, arn.clone());
        let judged: Vec<_> = case.requests.iter().map(|request| first(&request.arn)).collect();
        for (request, judged_request) in case.requests.iter().zip(&judged) {
            let text = judged_request.text();
            let verdict = &judged_request.policy.verdict;
            let evaluations = self.rules.evaluate(&case.claims, &request.arn);
            self.note_exercised(&evaluations, judged_request);
            if judged_request.is_allowed() != request.is_allowed {
                let (expected, answer) = if request.is_allowed { ("allowed", "403") } else { ("denied", "200") };
                let message = format!("{text} should be {expected}, and is {}", request::describe(verdict));
                let advice =
                    if request.is_allowed { self.why_denied(case, judged_request, &evaluations) } else { Vec::new() };
                let (explained, rule) = (vec![text], verdict.rule());
                self.report(
                    case,
                    request,
                    Said { kind: "unexpected-answer", message, explained, rule, advice, answer },
                );
            } else if let Some(difference) = judged_request.difference(&judged) {
                let explained = vec![difference.first.text(), text.clone()];
                let answer =
                    if request.is_allowed { "403 after the other request" } else { "200 after the other request" };
                let message = format!("{text} is {}", difference.text);
                let advice = vec![format!("ways out: {WAYS_OUT}")];
                self.report(
                    case,
                    request,
                    Said { kind: "other-answer-in-cache", message, explained, rule: None, advice, answer },
                );
            }
        }
        if let Some(only) = &case.only {
            match self.api {
                Some(api) => self.only_of_api(case, only, api),
                None => self.only_of_rules(case, only),
            }
        }
    }

    fn report(&mut self, case: &Case, request: &Request, said: Said<'_>) {
        let mut places = vec![Place::new(&self.tests.file, request.span.clone())];
        let rule = said.rule.and_then(|name| why::rule(self.rules, name));
        places.extend(rule.map(|rule| self.deciding_place(rule, case, &request.arn)));
        let asked = said.explained.last().cloned().unwrap_or_default();
        let mut advice = said.advice;
        advice.push(format!("to see more: {}", self.command(case, &said.explained)));
        self.findings.push(Finding {
            level: Level::Error,
            kind: said.kind,
            message: in_case(case, &said.message),
            places,
            advice,
            witness: Some(witness(case, asked, said.answer)),
        });
    }

    /// The route that decided, or the rule if it decided without a route.
    fn deciding_place(&self, rule: &Rule, case: &Case, asked: &MethodArn) -> Place {
        let evaluations = self.rules.evaluate(&case.claims, asked);
        let evaluation = evaluations.iter().find(|evaluation| *evaluation.name() == rule.name);
        let covering = evaluation.map(|evaluation| why::covering(rule, evaluation, asked.method_and_path()));
        let first = covering.iter().flatten().map(|route| route.written()).min();
        let span = first.and_then(|written| rule.route_spans.get(written)).unwrap_or(&rule.span);
        let label = match rule.name.effect {
            Effect::Allow => "it is allowed here",
            Effect::Deny => "it is denied here",
        };
        Place { label: Some(label.to_owned()), ..Place::new(self.file, span.clone()) }
    }

    /// The command that shows more.
    fn command(&self, case: &Case, requests: &[String]) -> String {
        let mut parts = vec!["okta-policy explain".to_owned(), quoted(&case.json)];
        parts.extend(requests.iter().map(|request| quoted(request)));
        if self.file.name != DEFAULT_RULES {
            parts.push(format!("--rules {}", quoted(&self.file.name)));
        }
        if case.stage.name != DEFAULT_STAGE {
            parts.push(format!("--stage {}", case.stage.name));
        }
        if case.stage.api != DEFAULT_API {
            parts.push(format!("--api {}", case.stage.api));
        }
        if self.options.max_bytes != DEFAULT_MAX_BYTES {
            parts.push(format!("--max-bytes {}", self.options.max_bytes));
        }
        parts.join(" ")
    }

    /// Why a request is denied, as far as a rule could have allowed it.
    fn why_denied(&self, case: &Case, judged: &FirstRequest, evaluations: &[RuleEvaluation<'_>]) -> Vec<String> {
        if judged.policy.verdict != Verdict::NotGranted {
            return Vec::new();
        }
        let mut advice = Vec::new();
        let (method, path) = (judged.request.method(), judged.request.untrusted_path());
        if let Some(rest) = path.strip_prefix(&format!("/{}/", case.stage.name)) {
            advice.push(format!("a path has no stage; did you mean `{method} /{rest}`?"));
        }
        let other_end = match path.strip_suffix('/') {
            Some(without) => format!("{method} {without}"),
            None => format!("{method} {path}/"),
        };
        if self.is_allowed(case, &other_end) {
            advice.push(format!("the rules allow `{other_end}`, and a path with a slash at its end is another path"));
        }
        for evaluation in evaluations.iter().filter(|evaluation| evaluation.effect() == Effect::Allow) {
            let Some(rule) = why::rule(self.rules, evaluation.name()) else { continue };
            if !rule.routes.iter().any(|route| why::could_cover(route, judged.request.method_and_path())) {
                continue;
            }
            let name = request::rule_text(&rule.name);
            if let Some(failed) = evaluation.failed {
                let way_out = match failed {
                    Failed::OtherStage(stages) => own(stages, "stage"),
                    Failed::OtherApi(apis) => own(apis, "api"),
                    Failed::Claim(_) | Failed::NoAgreement => String::new(),
                };
                let reason = why::not_applied(failed, Some(rule), &case.claims);
                advice.push(format!("{name} has such a route, but does not apply: {reason}{way_out}"));
            } else if evaluation.unusable.is_empty() {
                let values = evaluation.bindings.iter().take(3).map(|bindings| {
                    bindings
                        .iter()
                        .map(|(capture, value)| format!("{capture} = {value}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                });
                let values: Vec<_> = values.collect();
                advice.push(format!("{name} has such a route, but with other values: {}", values.join("; ")));
            } else {
                for value in evaluation.unusable.iter().take(3) {
                    let reason = why::not_usable(value, Some(rule));
                    advice.push(format!("{name} has such a route, but cannot use the value of {reason}"));
                }
            }
        }
        advice
    }

    /// Reports what the rules allow to the token of a case, and its `only` does not name: for each
    /// route one request.
    fn only_of_rules(&mut self, case: &Case, only: &Range<usize>) {
        let Some(root) = case.stage.arn("GET /") else { return };
        let grants = self.rules.grants(&case.claims, &root);
        if grants.deny_all.is_some() {
            return;
        }
        if grants.omitted > 0 {
            let problem = format!("{} routes of this token are not known, because it has too many", grants.omitted);
            self.not_only(case, vec![Place::new(&self.tests.file, only.clone())], None, &problem);
        }
        let is_named = |resource: &String| {
            let mut named = case.requests.iter().filter(|request| request.is_allowed);
            named.any(|request| covers(resource, request.arn.method_and_path()))
        };
        let mut evaluations = self.rules.evaluate(&case.claims, &root);
        evaluations.retain(|evaluation| evaluation.effect() == Effect::Allow && evaluation.failed.is_none());
        evaluations.sort_by_key(|evaluation| evaluation.name().line);
        for evaluation in &evaluations {
            let Some(rule) = why::rule(self.rules, evaluation.name()) else { continue };
            for (number, span) in rule.route_spans.iter().enumerate() {
                let routes = rule.routes.iter().filter(|route| route.written() == number);
                let resources = routes.flat_map(|route| {
                    evaluation.bindings.iter().flat_map(|bindings| evaluation.resources_of(route, bindings))
                });
                let mut others = resources.filter(|resource| !is_named(resource));
                let Some(request) = others.find_map(|resource| self.allowed_request(case, &resource)) else { continue };
                let name = request::rule_text(&rule.name);
                let problem = format!("{request} is not in `only`, and is allowed by {name}");
                let label = Some("it is allowed here".to_owned());
                let route = Place { label, ..Place::new(self.file, span.clone()) };
                self.not_only(case, vec![Place::new(&self.tests.file, only.clone()), route], Some(request), &problem);
            }
        }
    }

    /// Reports the operations that the rules allow to the token of a case, and its `only` does not
    /// name: for each one request.
    fn only_of_api(&mut self, case: &Case, only: &Range<usize>, api: &Api) {
        let named = case.requests.iter().filter(|request| request.is_allowed);
        let named = named.filter_map(|request| api.operation_for(request.arn.method(), request.arn.untrusted_path()));
        let named: Vec<_> = named.collect();
        let others = api.operations.iter().filter(|operation| operation.access == Access::Authorizer);
        for operation in others.filter(|operation| !named.iter().any(|named| ptr::eq(*named, *operation))) {
            let reached = operation.methods.iter().find_map(|method| {
                let reach = reach(self.rules, api, operation, method, &case.claims, &case.stage)?;
                reach.allowed.into_iter().next()
            });
            let Some((_, request)) = reached else { continue };
            let label = Some("this operation".to_owned());
            let places = vec![Place::new(&self.tests.file, only.clone()), Place { label, ..operation.place.clone() }];
            let problem = format!("the operation `{}` is not in `only`, and {request} is allowed", operation.name());
            self.not_only(case, places, Some(request), &problem);
        }
    }

    fn not_only(&mut self, case: &Case, places: Vec<Place>, request: Option<String>, problem: &str) {
        let command = |request: &String| format!("to see more: {}", self.command(case, slice::from_ref(request)));
        self.findings.push(Finding {
            level: Level::Error,
            kind: "not-only",
            message: in_case(case, problem),
            places,
            advice: request.iter().map(command).collect(),
            witness: request.map(|request| witness(case, request, "200")),
        });
    }

    /// A request that a granted resource covers, and that is allowed in fact. `None` if denials
    /// leave none of those that are tried.
    fn allowed_request(&self, case: &Case, resource: &str) -> Option<String> {
        let text = |value| resource.replace('*', value).replacen('/', " /", 1);
        ["x", "1", "a/b", "other"].map(text).into_iter().find(|text| self.is_allowed(case, text))
    }

    /// Whether a token of the case may make this request.
    fn is_allowed(&self, case: &Case, text: &str) -> bool {
        let first = |arn| FirstRequest::new(self.rules, &case.claims, self.options, arn);
        case.stage.arn(text).is_some_and(|arn| first(arn).is_allowed())
    }

    /// Notes the routes that a request exercised: those that allow it if it is allowed, and those
    /// that deny it.
    fn note_exercised(&mut self, evaluations: &[RuleEvaluation<'_>], judged: &FirstRequest) {
        let asked = judged.request.method_and_path();
        for evaluation in evaluations.iter().filter(|evaluation| evaluation.failed.is_none()) {
            let Some(rule) = why::rule(self.rules, evaluation.name()) else { continue };
            if rule.name.effect == Effect::Allow && !judged.is_allowed() {
                continue;
            }
            if evaluation.denies_all() {
                self.exercised.insert((&rule.name, None));
            }
            let covering = why::covering(rule, evaluation, asked).into_iter();
            self.exercised.extend(covering.map(|route| (&rule.name, Some(route.written()))));
        }
    }

    /// Reports the rules and the routes that no request exercised.
    fn untested(&mut self) {
        for rule in self.rules.in_file_order() {
            let list = match rule.name.effect {
                Effect::Allow => "allow",
                Effect::Deny => "deny",
            };
            let mut warn = |kind, message, span, advice| {
                let places = vec![Place::new(self.file, span)];
                self.findings.push(Finding {
                    level: Level::Warning,
                    kind,
                    message,
                    places,
                    advice: vec![advice],
                    witness: None,
                });
            };
            let name = request::rule_text(&rule.name);
            if !self.exercised.iter().any(|(name, _)| **name == rule.name) {
                let message = format!("no case exercises {name}");
                warn(
                    "untested-rule",
                    message,
                    rule.span.clone(),
                    format!("give the `{list}` of a case a request of this rule"),
                );
                continue;
            }
            for (number, span) in rule.route_spans.iter().enumerate() {
                if !self.exercised.contains(&(&rule.name, Some(number))) {
                    let message = format!("no case exercises this route of {name}");
                    warn(
                        "untested-route",
                        message,
                        span.clone(),
                        format!("give the `{list}` of a case a request of this route"),
                    );
                }
            }
        }
    }
}

fn in_case(case: &Case, text: &str) -> String {
    format!("the case \"{}\": {text}", case.name).replace(char::is_control, " ")
}

fn witness(case: &Case, request: String, answer: &str) -> Witness {
    let (stage, api) = (case.stage.name.clone(), case.stage.api.clone());
    Witness { claims: case.json.clone(), request, stage, api, answer: answer.to_owned() }
}

/// How a case says that it is for the stage or the API of a rule.
fn own(names: &[String], key: &str) -> String {
    names.first().map(|name| format!("; write {key} = \"{name}\" in the case")).unwrap_or_default()
}

/// A text as one argument of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DEFAULT_OPTIONS, EXAMPLE_RULES, TENANT_RULES, tenants};

    fn file(name: &str, text: &str) -> Arc<File> {
        Arc::new(File { name: name.to_owned(), text: text.to_owned() })
    }

    fn report(rules: &str, tests: &str) -> Report {
        let tests = read(&file("t.toml", tests)).map_err(|report| report.print(crate::report::Format::Text)).unwrap();
        judge(&Rules::parse(rules).unwrap(), &file("policy.toml", rules), &tests, None, DEFAULT_OPTIONS)
    }

    /// The lines of the places of each finding, its kind and its message.
    fn found(report: &Report) -> Vec<(Vec<usize>, &str, &str)> {
        let lines = |finding: &Finding| finding.places.iter().map(|place| place.start().0).collect();
        report.findings.iter().map(|finding| (lines(finding), finding.kind, finding.message.as_str())).collect()
    }

    fn errors(report: &Report) -> Vec<&str> {
        let errors = report.findings.iter().filter(|finding| finding.level == Level::Error);
        errors.map(|finding| finding.message.as_str()).collect()
    }

    #[test]
    fn a_rule_on_a_claim_of_every_token_applies_to_each_case() {
        let rules =
            "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = { sub = '{who}@example.com' }\nroutes = ['ANY /*']";
        let tests = "[[case]]\nname = 'x'\nclaims = { uid = '00u1' }\nallow = ['GET /a']\n";
        let report = report(rules, tests);
        let message = "the case \"x\": GET /a should be allowed, and is denied by the rule in line 3";
        assert_eq!(found(&report)[0], (vec![4, 5], "unexpected-answer", message));
    }

    #[test]
    fn an_unexpected_answer_is_reported_with_its_rule_and_its_reason() {
        let tests = r#"
[[case]]
name   = "good"
claims = { tenants = ["1:acme"] }
allow  = ["GET /apps", "GET /t/acme/x"]
deny   = ["GET /t/umbra/x"]

[[case]]
name   = "bad"
claims = { tenants = ["1:acme"], groups = ["acme-SUSPENDED"] }
allow  = ["GET /t/acme/x", "GET /other", "GET /prod/apps", "GET /apps/", "GET /t/umbra/x"]
deny   = ["GET /apps", "GET /t/acme/../x"]

[[case]]
name   = "named"
claims = { tenants = ["1:acme"] }
deny   = ["GET /t/acme/x"]

[[case]]
name   = "whys"
claims = { tenants = ["1:b/c"], uid = "it's" }
allow  = ["GET /t/b/c", "GET /orders/7/invoice"]
"#;
        let report = report(EXAMPLE_RULES, tests);
        let expected = [
            (vec![11, 11], "bad", "GET /t/acme/x", "allowed, and is denied by the rule in line 9"),
            (vec![11], "bad", "GET /other", "allowed, and is denied: no rule grants it"),
            (vec![11], "bad", "GET /prod/apps", "allowed, and is denied: no rule grants it"),
            (vec![11], "bad", "GET /apps/", "allowed, and is denied: no rule grants it"),
            (vec![11], "bad", "GET /t/umbra/x", "allowed, and is denied: no rule grants it"),
            (vec![12, 7], "bad", "GET /apps", "denied, and is allowed by the rule in line 6"),
            (vec![17, 4], "named", "GET /t/acme/x", "denied, and is allowed by the rule \"tenant members\""),
            (vec![22], "whys", "GET /t/b/c", "allowed, and is denied: no rule grants it"),
            (vec![22], "whys", "GET /orders/7/invoice", "allowed, and is denied: no rule grants it"),
        ];
        let expected = expected.map(|(lines, case, request, text)| {
            (lines, "unexpected-answer", format!("the case \"{case}\": {request} should be {text}"))
        });
        let found = found(&report).into_iter().map(|(lines, kind, text)| (lines, kind, text.to_owned()));
        assert_eq!(found.take(9).collect::<Vec<_>>(), expected);
        let advice = |number: usize| {
            let advice = &report.findings[number].advice;
            advice[..advice.len() - 1].to_vec()
        };
        let nothing: Vec<String> = Vec::new();
        assert_eq!((advice(0), advice(1), advice(5)), (nothing.clone(), nothing.clone(), nothing));
        assert_eq!(advice(2), ["a path has no stage; did you mean `GET /apps`?"]);
        assert_eq!(advice(3), ["the rules allow `GET /apps`, and a path with a slash at its end is another path"]);
        assert_eq!(advice(4), ["the rule \"tenant members\" has such a route, but with other values: name = acme"]);
        assert_eq!(
            advice(7),
            [
                "the rule \"tenant members\" has such a route, but cannot use the value of tenants: {name} of `1:b/c` has \
              `/` (U+002F), which is not allowed in a route"
            ]
        );
        assert_eq!(
            advice(8),
            [
                "the rule in line 13 has such a route, but does not apply: for stage dev, test only; write stage = \"dev\" \
              in the case"
            ]
        );
        assert_eq!(
            report.findings[8].advice.last().unwrap(),
            r#"to see more: okta-policy explain '{"tenants":["1:b/c"],"uid":"it'\''s"}' 'GET /orders/7/invoice'"#
        );
        let witness = Witness {
            claims: r#"{"tenants":["1:acme"]}"#.to_owned(),
            request: "GET /t/acme/x".to_owned(),
            stage: "prod".to_owned(),
            api: "abcdef1234".to_owned(),
            answer: "200".to_owned(),
        };
        assert_eq!(report.findings[6].witness, Some(witness));
        assert_eq!(report.summary, "t.toml: 13 requests, 9 errors, 1 warning");
    }

    #[test]
    fn why_a_request_is_denied_says_what_the_claim_is() {
        let rules = "[[allow]]\nwhen = { groups = ['{team}-STAFF', '{team}-ADMIN'] }\nroutes = ['GET /a']
[[allow]]\napi = 'a1b2c3d4e5'\nroutes = ['GET /b']\n";
        let tests = "[[case]]\nname = 'x'\nclaims = { groups = ['GUESTS'] }\nallow = ['GET /a', 'GET /b']\n";
        let advice: Vec<_> =
            report(rules, tests).findings.into_iter().map(|mut finding| finding.advice.remove(0)).collect();
        let of_claim = "the rule in line 1 has such a route, but does not apply: the claim groups does not match: it is \
                        [\"GUESTS\"]; expected \"{team}-STAFF\" or \"{team}-ADMIN\"";
        let of_api = "the rule in line 4 has such a route, but does not apply: for API a1b2c3d4e5 only; write api = \
                      \"a1b2c3d4e5\" in the case";
        assert_eq!(advice[..2], [of_claim, of_api]);
    }

    #[test]
    fn a_request_that_another_policy_leaves_out_is_a_failure() {
        let report = |count: usize| {
            let tests = format!(
                "[[case]]\nname = 'many'\nclaims = {{ tenants = {} }}
allow = ['GET /000/x', 'GET /498/x', 'GET /499/x']\ndeny = ['GET /499', 'GET /x/../y']\n",
                tenants(count)
            );
            report(TENANT_RULES, &tests)
        };
        let left_out = |tenant| {
            format!(
                "the case \"many\": GET /{tenant}/x is denied under the policy that was made for GET /000/x \
                 (83 routes left out), and under 3 more"
            )
        };
        let many = report(500);
        assert_eq!(errors(&many), ["498", "499"].map(left_out));
        assert!(many.findings.iter().all(|finding| finding.kind == "other-answer-in-cache"));
        assert_eq!(many.findings[0].advice[0], format!("ways out: {WAYS_OUT}"));
        assert_eq!(many.summary, "t.toml: 5 requests, 2 errors");
        // A few tenants fit, so that only what is not granted fails.
        let not_granted =
            |tenant| format!("the case \"many\": GET /{tenant}/x should be allowed, and is denied: no rule grants it");
        assert_eq!(errors(&report(10)), ["498", "499"].map(not_granted));
    }

    /// The policy of the first request has no `*`, because it does not fit, so it has no path guard.
    #[test]
    fn a_request_that_another_policy_allows_is_a_failure() {
        let rules = "[[allow]]\nwhen = { tenants = '{id}' }\nroutes = ['GET /{id}']
[[allow]]\nroutes = ['GET /z/%5c', 'GET /z/*']\n";
        let report = |count, allow| {
            let tenants = tenants(count);
            let tests = format!(
                "[[case]]\nname = 'x'\nclaims = {{ tenants = {tenants} }}\nallow = [{allow}]\ndeny = ['GET /z/%5c']\n"
            );
            report(rules, &tests)
        };
        let other = "under the policy that was made for GET /000 (1 route left out)";
        assert_eq!(
            errors(&report(450, "'GET /000', 'GET /z/x'")),
            [
                format!("the case \"x\": GET /z/x is denied {other}"),
                format!("the case \"x\": GET /z/%5c is allowed {other}"),
            ]
        );
        assert_eq!(errors(&report(10, "'GET /000', 'GET /z/x'")), [""; 0]);
        assert_eq!(errors(&report(450, "")), [""; 0]);
    }

    #[test]
    fn a_case_can_have_a_stage_and_an_api() {
        let errors = |place: &str, list: &str| {
            let tests = format!(
                "[[case]]\nname = 'x'\nclaims = {{ uid = '00u1' }}\n{place}\n{list} = ['GET /orders/7/invoice']\n"
            );
            errors(&report(EXAMPLE_RULES, &tests)).len()
        };
        for (place, list) in [
            ("stage = 'dev'", "allow"),
            ("stage = 'test'\napi = 'abcdef1234'", "allow"),
            ("", "deny"),
            ("stage = 'prod'", "deny"),
            ("stage = 'dev'\napi = 'zyxwvu9876'", "deny"),
        ] {
            let other = if list == "allow" { "deny" } else { "allow" };
            assert_eq!((errors(place, list), errors(place, other)), (0, 1), "{place}");
        }
    }

    #[test]
    fn nested_claims_and_numbers_are_claims_as_they_are_written() {
        let rules = "[[allow]]\nwhen = { '/app/roles' = 'admin', ids = '{id}' }\nroutes = ['GET /t/{id}']\n";
        let tests = "[[case]]\nname = 'x'\nclaims = { app = { roles = ['admin'] }, ids = [5, 1_0, 1.50, -3, true] }
allow = ['GET /t/5', 'GET /t/10', 'GET /t/1.50', 'GET /t/-3', 'GET /t/true']\ndeny = ['GET /t/7', 'GET /t/1.5']\n";
        let report = report(rules, tests);
        assert_eq!((found(&report), report.summary.as_str()), (vec![], "t.toml: 7 requests as expected"));
    }

    #[test]
    fn only_means_that_everything_else_is_denied() {
        let rules = "[[allow]]\nwhen = { uid = '{uid}' }\nroutes = ['GET /u/{uid}', 'ANY /u/{uid}/*']
[[allow]]\nname = 'apps'\nroutes = ['GET /apps', 'GET /apps/*/x']
[[deny]]\nroutes = ['GET /apps/x/x', 'GET /apps/1/x']\n";
        let only = |only: &str| {
            let tests = format!("[[case]]\nname = 'c'\nclaims = {{ uid = 'me' }}\nonly = {only}\n");
            report(rules, &tests)
        };
        let of_kind = |report: &Report| {
            let found = found(report).into_iter().filter(|(_, kind, _)| *kind == "not-only");
            found.map(|(lines, _, text)| (lines, text.to_owned())).collect::<Vec<_>>()
        };
        let all = "['GET /u/me', 'GET /u/me/1', 'PUT /u/me/1', 'POST /u/me/1', 'PATCH /u/me/1', 'HEAD /u/me/1',
            'OPTIONS /u/me/1', 'DELETE /u/me/1', 'GET /apps', 'GET /apps/7/x']";
        assert_eq!(errors(&only(all)), [""; 0]);
        let [of_any, apps, of_app] = [
            (vec![4, 3], "the case \"c\": DELETE /u/me/x is not in `only`, and is allowed by the rule in line 1"),
            (vec![4, 6], "the case \"c\": GET /apps is not in `only`, and is allowed by the rule \"apps\""),
            (vec![4, 6], "the case \"c\": GET /apps/a/b/x is not in `only`, and is allowed by the rule \"apps\""),
        ]
        .map(|(lines, text)| (lines, text.to_owned()));
        let report_of_one = only("['GET /u/me']");
        assert_eq!(of_kind(&report_of_one), [of_any.clone(), apps, of_app]);
        assert_eq!(of_kind(&only(&all.replace("'DELETE /u/me/1', ", ""))), [of_any]);
        let request_of = |finding: &Finding| finding.witness.clone().unwrap().request;
        let witnesses: Vec<_> =
            report_of_one.findings.iter().filter(|finding| finding.kind == "not-only").map(request_of).collect();
        assert_eq!(witnesses, ["DELETE /u/me/x", "GET /apps", "GET /apps/a/b/x"]);
        assert_eq!(of_kind(&only("[]")).len(), 4);
        // What `only` names must be allowed too.
        let not_allowed = "the case \"c\": GET /x should be allowed, and is denied: no rule grants it";
        assert_eq!(errors(&only(&all.replace('[', "['GET /x', "))), [not_allowed]);
    }

    #[test]
    fn rules_and_routes_that_no_case_exercises_are_warnings() {
        let rules = "[[allow]]\nname = 'a'\nwhen = { uid = '{uid}' }
routes = [
  'ANY /u/{uid}',
  'GET /u/{uid}/x',
]
[[allow]]\nwhen = { groups = 'G' }\nroutes = ['GET /g']
[[deny]]\nroutes = ['GET /u/bad', 'GET /never']
[[deny]]\nwhen = { n = '{n}' }\nroutes = ['GET /n/{n}']\n";
        let tests = |more: &str| {
            format!(
                "[[case]]\nname = 'c'\nclaims = {{ uid = 'bad' }}\nallow = ['PUT /u/bad']\ndeny = ['GET /u/bad', {more}]"
            )
        };
        let report_of = |more: &str| report(rules, &tests(more));
        let expected = [
            (vec![6], "untested-route", "no case exercises this route of the rule \"a\""),
            (vec![8], "untested-rule", "no case exercises the rule in line 8"),
            (vec![12], "untested-route", "no case exercises this route of the rule in line 11"),
            (vec![13], "untested-rule", "no case exercises the rule in line 13"),
        ];
        let mut report = report_of("'GET /g', 'GET /u/other/x'");
        assert_eq!(found(&report), expected);
        assert_eq!(report.summary, "t.toml: 4 requests as expected, 4 warnings");
        assert!(!report.has_errors());
        report.be_strict();
        assert!(report.has_errors());
        let with_never = report_of("'GET /never/'");
        assert_eq!(found(&with_never), [expected[0].clone(), expected[1].clone(), expected[3].clone()]);
        // A value that cannot be written denies everything without a route.
        let whole = format!("{}\n[[case]]\nname = 'd'\nclaims = {{ n = 'a/b' }}\ndeny = ['GET /x']\n", tests(""));
        let last = (vec![15], "untested-route", "no case exercises this route of the rule in line 13");
        assert_eq!(found(&super::tests::report(rules, &whole)).last(), Some(&last));
    }
}
