//! Shows for one token which rules match it, the policy that it gets, and the verdicts on requests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use okta_authorizer_policy::{
    Bindings, ClaimSet, Effect, MAX_RESOURCE, MethodArn, PolicyDocument, PolicyOptions, RuleEvaluation, Rules, Verdict,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    arguments::{DEFAULT_MAX_BYTES, PolicySize, RulesOption},
    claims,
    files::{self, Stop},
    request::{self, DEFAULT_API, DEFAULT_STAGE, FirstRequest, Stage, WAYS_OUT},
    why,
};

/// Shows which rules match a token, and the policy that it gets
#[derive(Debug, Args)]
#[command(after_help = "The policy has the path guard (PATH_GUARD=on).

Examples:
  okta-policy explain '{\"uid\":\"00u1\"}'
  okta-policy explain claims.json 'GET /users/00u1' 'PUT /users/00u1'
  okta-policy explain - 'GET /users/00u1' < token.txt
  okta-policy explain claims.json --rules my-policy.toml --stage dev
  okta-policy explain --event event.json")]
pub struct Arguments {
    /// Claims as JSON, a file with them, an access token, or `-` for standard input
    ///
    /// A file can also contain an access token. A token's signature is not checked.
    ///
    /// Standard input keeps a token out of the shell's history.
    #[arg(value_name = "CLAIMS|TOKEN|-", required_unless_present = "event")]
    claims: Option<String>,
    /// Requests such as `GET /apps`, to see whether the token may make them
    ///
    /// API Gateway caches the policy that is made for the first request of a token. So each
    /// request is also judged under the policies that are made for the others, and the exit
    /// code is 1 if one gets another answer there.
    #[arg(value_name = "METHOD /path")]
    requests: Vec<String>,
    /// A file with a TOKEN event: the token, and the ARN of the request
    #[arg(long, value_name = "FILE", conflicts_with_all = ["claims", "requests", "stage", "api"])]
    event: Option<PathBuf>,
    /// The stage of the requests, for rules with `stage`
    #[arg(long, value_name = "NAME", default_value = DEFAULT_STAGE)]
    stage: String,
    /// The id of the requests' API, for rules with `api`
    #[arg(long, value_name = "ID", default_value = DEFAULT_API)]
    api: String,
    #[command(flatten)]
    rules: RulesOption,
    #[command(flatten)]
    size: PolicySize,
}

/// What the rules say about a token. `false` if a request gets another answer after another one.
///
/// # Errors
/// If an argument or a file cannot be read.
pub fn run(arguments: &Arguments) -> Result<(String, bool), Stop> {
    let (claims, stage, requests) = if let Some(path) = &arguments.event {
        let file = files::read(path)?;
        let (claims, request) = event(&file.text).map_err(|problem| format!("{}: {problem}", file.name))?;
        (claims, Stage::new(request.api(), request.stage())?, vec![request])
    } else {
        let stage = Stage::new(&arguments.api, &arguments.stage)?;
        let requests = arguments.requests.iter().map(|text| stage.request(text)).collect::<Result<_, _>>()?;
        (claims_of(arguments.claims.as_deref().unwrap_or_default())?, stage, requests)
    };
    let (rules, file) = files::rules(&arguments.rules.file()?)?;
    Ok(render(&rules, &file.text, &claims, arguments.size.options(), &stage, requests)?)
}

/// Explains requests of access tokens in the words of `explain`. The policies have the Lambda's
/// default options.
#[derive(Debug)]
pub struct Explainer(Rules);

/// Why a request gets its answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the path guard denies it.
    pub is_guarded: bool,
    /// In one line of printable ASCII: `allowed by the rule in line 5`.
    pub text: String,
}

impl Explainer {
    /// # Errors
    /// If the rules cannot be read.
    pub fn read(rules: &Path) -> Result<Self, Stop> {
        Ok(Self(files::rules(rules)?.0))
    }

    /// Explains the ARN of a request under the policy that was made for the ARN `first`. `None` if
    /// the token has no claims that can be read, or if an ARN is none of a method.
    #[must_use]
    pub fn explain(&self, token: &str, first: &str, request: &str) -> Option<Explanation> {
        let claims = claims::read(token).ok()?;
        let options = PolicyOptions { max_bytes: DEFAULT_MAX_BYTES, path_guard: true };
        let made = |arn| Some(FirstRequest::new(&self.0, &claims, options, MethodArn::parse(arn)?));
        let (first, request) = ([made(first)?], made(request)?);
        let verdict = &request.policy.verdict;
        let (is_guarded, text) = match request.difference(&first) {
            Some(difference) => (false, difference.text),
            None => (*verdict == Verdict::PathGuard, request::describe(verdict)),
        };
        Some(Explanation { is_guarded, text: why::printable(&text) })
    }
}

/// The claims of an argument: a file, JSON, a token, or `-`.
fn claims_of(argument: &str) -> Result<ClaimSet, Stop> {
    if argument == "-" {
        return Ok(claims::read(&files::read_stdin()?.text)?);
    }
    if fs::exists(argument).unwrap_or(false) || is_like_a_file(argument) {
        let file = files::read(Path::new(argument))?;
        return Ok(claims::read(&file.text).map_err(|problem| format!("{}: {problem}", file.name))?);
    }
    Ok(claims::read(argument)?)
}

/// Whether an argument can only be the name of a file: neither JSON nor a token.
fn is_like_a_file(argument: &str) -> bool {
    let is_json = argument.trim_start().starts_with(['{', '[', '"']);
    let has_ending = [".json", ".txt", ".jwt"].iter().any(|ending| argument.to_ascii_lowercase().ends_with(ending));
    !is_json && !argument.contains(' ') && (has_ending || argument.contains(['/', '\\']))
}

/// The claims and the request of a TOKEN event. The error says what is expected.
fn event(text: &str) -> Result<(ClaimSet, MethodArn), String> {
    let text = text.trim_start_matches('\u{feff}');
    let expected = "expected {\"type\":\"TOKEN\",\"authorizationToken\":\"Bearer …\",\"methodArn\":\"arn:…\"}";
    let event: Value = serde_json::from_str(text).map_err(|error| format!("not an event: {error}; {expected}"))?;
    let field = |name: &str| event.get(name).and_then(Value::as_str);
    if event.get("type").is_some() && field("type") != Some("TOKEN") {
        return Err("the event's `type` is not TOKEN, and the authorizer takes no other".to_owned());
    }
    let token =
        field("authorizationToken").ok_or_else(|| format!("the event has no `authorizationToken`; {expected}"))?;
    let arn = field("methodArn").ok_or_else(|| format!("the event has no `methodArn`; {expected}"))?;
    let request = MethodArn::parse(arn).ok_or_else(|| {
        format!(
            "`{}` is not the ARN of a method; expected arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/path",
            why::printable(arn)
        )
    })?;
    let has_scheme = token.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("Bearer "));
    if !has_scheme {
        return Err("the event's `authorizationToken` does not start with `Bearer `, so the caller gets 401".to_owned());
    }
    Ok((claims::read(token)?, request))
}

/// The width of the table in characters: enough for a route, and not too much for a terminal.
const WIDTH: u16 = 140;

/// The most matches, and the most routes, that are shown of one rule. Combined values can have
/// millions.
const MAX_LINES: usize = 1_000;

/// The policy document with its fields in their order, for people.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    version: String,
    statement: Vec<Statement>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: Vec<String>,
    effect: String,
    resource: Vec<String>,
}

impl Document {
    fn parse(document: &PolicyDocument) -> serde_json::Result<Self> {
        serde_json::from_str(document.json())
    }

    fn allows(&self, resource: &str) -> bool {
        let allowed = self.statement.iter().filter(|statement| statement.effect == "Allow");
        allowed.flat_map(|statement| &statement.resource).any(|allowed| allowed == resource)
    }
}

/// The answer to each request, the table of rules, and the policy for the first request. Without a
/// request, the policy is the one for the first request that is granted.
///
/// It is not good if a request gets another verdict under the policy that was made for
/// another one.
fn render(
    rules: &Rules,
    toml: &str,
    claims: &ClaimSet,
    options: PolicyOptions,
    stage: &Stage,
    mut requests: Vec<MethodArn>,
) -> Result<(String, bool), String> {
    let asked = requests.len();
    if requests.is_empty() {
        requests.push(first_granted(rules, claims, stage)?);
    }
    let judged: Vec<_> =
        requests.into_iter().map(|request| FirstRequest::new(rules, claims, options, request)).collect();
    let Some(first) = judged.first() else { return Err("there is no request".to_owned()) };
    let document = Document::parse(&first.policy.document).map_err(|error| error.to_string())?;
    let pretty = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;

    let mut evaluations = rules.evaluate(claims, &first.request);
    evaluations.sort_by_key(|evaluation| evaluation.name().line);
    let mut is_good = true;
    let mut answers = Vec::new();
    for request in judged.iter().take(asked) {
        let text = why::printable(&request.text());
        answers.push(format!("{text}: {}", verdict(request, &evaluations, toml)));
        if let Some(difference) = request.difference(&judged) {
            answers.push(format!("{text}: {}; ways out: {WAYS_OUT}", difference.text));
            is_good = false;
        }
    }
    let mut blocks = vec![table(rules, &evaluations, toml, claims, &first.request, &document).to_string()];
    if !answers.is_empty() {
        blocks.insert(0, answers.join("\n"));
    }
    blocks.extend(wildcard_sentence(&evaluations));
    blocks.push(size(first, options, asked));
    blocks.push(pretty);
    Ok((blocks.join("\n\n"), is_good))
}

/// The first request that the rules grant, or else `GET /`.
fn first_granted(rules: &Rules, claims: &ClaimSet, stage: &Stage) -> Result<MethodArn, String> {
    let root = stage.request("GET /")?;
    let grants = rules.grants(claims, &root);
    match grants.allow.iter().next() {
        Some((resource, _)) => Ok(stage.arn(&route(&resource.replace('*', ""))).unwrap_or(root)),
        None => Ok(root),
    }
}

/// The size of the policy, and how many routes it leaves out. With several requests, it says which
/// policy it is.
fn size(first: &FirstRequest, options: PolicyOptions, requests: usize) -> String {
    let bytes = first.policy.document.json().len();
    let made_for = if requests > 1 { format!(" for {}", first.text()) } else { String::new() };
    let left_out = match first.left_out {
        0 => String::new(),
        _ => format!(", {}; ways out: {WAYS_OUT}", first.left_out_text()),
    };
    format!("policy{made_for}: {bytes} of {} bytes{left_out}", options.max_bytes)
}

/// What a `*` inside of a route is, if a shown route has one.
fn wildcard_sentence(evaluations: &[RuleEvaluation<'_>]) -> Option<String> {
    // The routes of a rule have their `*` at the same places with all bindings.
    let of_rule = |evaluation: &RuleEvaluation<'_>| -> Vec<String> {
        evaluation.bindings.iter().take(1).flat_map(|bindings| evaluation.resources(bindings)).collect()
    };
    let is_inner = |resource: &String| resource.strip_suffix('*').unwrap_or(resource).contains('*');
    let resource = evaluations.iter().flat_map(of_rule).find(is_inner)?;
    let (shown, example) = (route(&resource), route(&resource.replacen('*', "a/b", 1)));
    Some(format!("A `*` inside of a route is any characters, slashes included: `{shown}` is also `{example}`."))
}

/// `METHOD /path` of a resource `METHOD/path`.
fn route(resource: &str) -> String {
    resource.replacen('/', " /", 1)
}

fn table(
    rules: &Rules,
    evaluations: &[RuleEvaluation<'_>],
    toml: &str,
    claims: &ClaimSet,
    requested: &MethodArn,
    document: &Document,
) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["rule", "matched", "routes"]);
    for evaluation in evaluations {
        let name = evaluation.name();
        table.add_row([
            format!("{name}\n{}", as_written(evaluation, toml).join("\n")),
            matched(rules, evaluation, claims),
            routes(evaluation, requested, document),
        ]);
    }
    table
}

/// When the rule applies: the lines of its `stage`, `api` and `when`.
fn as_written<'t>(evaluation: &RuleEvaluation<'_>, toml: &'t str) -> Vec<&'t str> {
    let after_header = toml.lines().skip(evaluation.name().line as usize).map(str::trim);
    let body = after_header.take_while(|line| !line.starts_with("[["));
    let is_key = |line: &&str, keys: &[&str]| keys.iter().any(|key| line.starts_with(key));
    let mut lines: Vec<_> = body.filter(|line| is_key(line, &["stage", "api", "when"])).collect();
    if evaluation.is_for_any_token() {
        lines.push("any valid token");
    } else if !lines.iter().any(|line| is_key(line, &["when"])) {
        lines.push("when …, see the file");
    }
    match evaluation.effect() {
        Effect::Allow => lines.insert(0, "[[allow]]"),
        Effect::Deny => lines.insert(0, "[[deny]]"),
    }
    lines
}

fn matched(rules: &Rules, evaluation: &RuleEvaluation<'_>, claims: &ClaimSet) -> String {
    let rule = why::rule(rules, evaluation.name());
    if let Some(failed) = evaluation.failed {
        return format!("no: {}", why::not_applied(failed, rule, claims));
    }
    let bound = first_lines(evaluation.bindings.iter().map(captures));
    let mut lines: Vec<String> = [bound].into_iter().filter(|bound| !bound.is_empty()).collect();
    lines.extend(evaluation.unusable.iter().map(|value| format!("not usable, {}", why::not_usable(value, rule))));
    if evaluation.overflow > 0 {
        lines.push(format!("{} more, left out because there are too many", evaluation.overflow));
    }
    if evaluation.denies_all() {
        lines.push("denies the whole stage, because it cannot be written for every value".to_owned());
    }
    lines.join("\n")
}

fn captures(bindings: &Bindings<'_>) -> String {
    let captures: Vec<_> = bindings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if captures.is_empty() { "yes".to_owned() } else { captures.join(", ") }
}

/// The routes that the rule grants or denies. Marks those that the policy leaves out.
fn routes(evaluation: &RuleEvaluation<'_>, requested: &MethodArn, document: &Document) -> String {
    let resources = evaluation.bindings.iter().flat_map(|bindings| evaluation.resources(bindings));
    let lines = resources.map(|resource| {
        let arn = requested.resource_arn(&resource);
        let route = route(&resource);
        match evaluation.effect() {
            Effect::Deny => route,
            Effect::Allow if document.allows(&arn) => route,
            Effect::Allow if arn.len() > MAX_RESOURCE => format!("{route} (left out: over {MAX_RESOURCE} characters)"),
            Effect::Allow => format!("{route} (left out)"),
        }
    });
    first_lines(lines)
}

/// The first lines, and whether there are more.
fn first_lines(lines: impl Iterator<Item = String>) -> String {
    let mut shown: Vec<_> = lines.take(MAX_LINES + 1).collect();
    if shown.len() > MAX_LINES {
        shown.truncate(MAX_LINES);
        shown.push("… and more".to_owned());
    }
    shown.join("\n")
}

/// The verdict, and when the rule applies that decided.
fn verdict(request: &FirstRequest, evaluations: &[RuleEvaluation<'_>], toml: &str) -> String {
    let described = request::describe(&request.policy.verdict);
    let rule = request.policy.verdict.rule();
    match evaluations.iter().find(|evaluation| Some(evaluation.name()) == rule) {
        Some(evaluation) => format!("{described}: {}", as_written(evaluation, toml).join(" ")),
        None => described,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DEFAULT_OPTIONS, EXAMPLE_RULES, TENANT_RULES, claims,
        request::{DEFAULT_API, DEFAULT_STAGE},
        tenants,
    };

    const IN_PROD: (&str, &str) = (DEFAULT_API, DEFAULT_STAGE);

    /// The rows of the table, each as one line.
    fn rows(text: &str) -> Vec<String> {
        let cells = |line: &str| line.split(['│', '┆']).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let lines = text.lines().filter(|line| line.starts_with('│'));
        lines.map(|line| cells(line)[1..4].join(" | ").trim_end().to_owned()).collect()
    }

    /// The line about the policy's size, and the answers before the table.
    fn size_and_answers(text: &str) -> Vec<&str> {
        let size = text.lines().filter(|line| line.starts_with("policy"));
        size.chain(text.lines().take_while(|line| !line.is_empty() && !line.starts_with('┌'))).collect()
    }

    fn explain(rules: &str, claims: &str, request: Option<&str>) -> String {
        let requests: Vec<_> = request.into_iter().collect();
        let (text, is_good) = explain_all(rules, claims, IN_PROD, &requests);
        assert!(is_good);
        text
    }

    fn explain_all(rules: &str, claims: &str, (api, stage): (&str, &str), requests: &[&str]) -> (String, bool) {
        let stage = Stage::new(api, stage).unwrap();
        let requests: Vec<_> = requests.iter().map(|request| stage.request(request).unwrap()).collect();
        render(&Rules::parse(rules).unwrap(), rules, &claims::read(claims).unwrap(), DEFAULT_OPTIONS, &stage, requests)
            .unwrap()
    }

    #[test]
    fn shows_what_every_rule_does_for_the_token() {
        let long = "x".repeat(129);
        let claims = format!(r#"{{"tenants":["1:acme","a:b:c","1:*","1:{long}"],"groups":["STAFF"]}}"#);
        let text = explain(EXAMPLE_RULES, &claims, Some("GET /t/acme/x"));
        for part in [
            "name = acme",
            "`a:b:c` can be read in more",
            "not usable, tenants: {name} of `1:*` has `*` (U+002A), which is not allowed",
            "GET /t/acme/*",
            "any valid token",
            "when   = { tenants = \"{id}:{name}\" }",
            "when   = { groups = \"{banned}-SUSPENDED\" }",
            "no: the claim groups does not match: it is [\"STAFF\"]; expected",
            "of 32768 bytes",
            "GET /t/acme/x: allowed by the rule \"tenant members\": [[allow]] when   = { tenants = \"{id}:{name}\" }",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn shows_an_absent_claim_and_a_request_that_is_not_granted() {
        let text = explain(EXAMPLE_RULES, "{}", Some("GET /t/acme/x"));
        assert!(text.contains("no: the claim tenants is absent"), "{text}");
        assert!(text.starts_with("GET /t/acme/x: denied: no rule grants it\n\n"), "{text}");
    }

    #[test]
    fn names_a_rule_by_its_name_or_else_by_its_line() {
        let claims = r#"{"tenants":["1:acme","2:umbra"],"groups":["umbra-SUSPENDED"]}"#;
        let text = explain_all(
            EXAMPLE_RULES,
            claims,
            IN_PROD,
            &["GET /t/acme/x", "GET /t/umbra/x", "GET /apps", "GET /t/acme/../y", "GET /t"],
        )
        .0;
        let expected = [
            "rule | matched | routes",
            "tenant members | name = acme | GET /t/acme/*",
            "[[allow]] | name = umbra | GET /t/umbra/*",
            r#"when   = { tenants = "{id}:{name}" } |  |"#,
            "line 6 | yes | GET /apps",
            "[[allow]] |  |",
            "any valid token |  |",
            "line 9 | banned = umbra | GET /t/umbra/*",
            "[[deny]] |  |",
            r#"when   = { groups = "{banned}-SUSPENDED" } |  |"#,
            "line 13 | no: for stage dev, test only |",
            "[[allow]] |  |",
            r#"api    = "abcdef1234" |  |"#,
            r#"stage  = ["dev", "test"] |  |"#,
            "when   = { uid = { present = true } } |  |",
        ];
        assert_eq!(rows(&text), expected);
        let expected = [
            "policy for GET /t/acme/x: 3413 of 32768 bytes",
            r#"GET /t/acme/x: allowed by the rule "tenant members": [[allow]] when   = { tenants = "{id}:{name}" }"#,
            r#"GET /t/umbra/x: denied by the rule in line 9: [[deny]] when   = { groups = "{banned}-SUSPENDED" }"#,
            "GET /apps: allowed by the rule in line 6: [[allow]] any valid token",
            "GET /t/acme/../y: denied by the path guard",
            "GET /t: denied: no rule grants it",
        ];
        assert_eq!(size_and_answers(&text), expected);
    }

    #[test]
    fn says_why_a_rule_does_not_apply() {
        let rule = |rest: &str| format!("[[allow]]\n{rest}\nroutes = ['GET /a']\n");
        let claims =
            r#"{"uid":"u1","scp":["a"],"null":null,"app":{"roles":["x"],"a/~b":{"c":null}},"t":["a"],"g":["b"]}"#;
        for (rest, why) in [
            ("stage = 'dev'", "no: for stage dev only"),
            ("stage = ['dev', 'test']", "no: for stage dev, test only"),
            ("api = 'zyxwvu9876'", "no: for API zyxwvu9876 only"),
            ("when = { uid = 'u2' }", r#"no: the claim uid does not match: it is "u1"; expected "u2""#),
            ("when = { uid = ['u2', '3'] }", r#"no: the claim uid does not match: it is "u1"; expected "u2" or "3""#),
            ("when = { uid = { present = false } }", r#"no: the claim uid does not match: it is "u1"; expected none"#),
            ("when = { none = { present = true } }", "no: the claim none is absent"),
            ("when = { none = 'x' }", "no: the claim none is absent"),
            ("when = { null = 'x' }", "no: the claim null is absent"),
            (
                "when = { scopes = { all = ['a', 'b'] } }",
                r#"no: the claim scopes does not match: it is ["a"]; expected "a" and "b""#,
            ),
            (
                "when = { '/app/roles' = 'admin' }",
                r#"no: the claim /app/roles does not match: it is ["x"]; expected "admin""#,
            ),
            (
                "when = { '/app/roles/0' = 'admin' }",
                r#"no: the claim /app/roles/0 does not match: it is "x"; expected "admin""#,
            ),
            ("when = { '/app/roles/1' = 'admin' }", "no: the claim /app/roles/1 is absent"),
            ("when = { '/app/groups' = 'admin' }", "no: the claim /app/groups is absent"),
            ("when = { '/app/a~1~0b/c' = 'admin' }", "no: the claim /app/a~1~0b/c is absent"),
            ("when = { '/uid' = 'admin' }", r#"no: the claim /uid does not match: it is "u1"; expected "admin""#),
            ("when = { '/none/x' = 'admin' }", "no: the claim /none/x is absent"),
            (
                "when = { t = '{x}', g = '{x}' }",
                "no: each claim matches, but not with the same value for a capture of several claims",
            ),
        ] {
            let text = explain(&rule(rest), claims, None);
            assert!(rows(&text).iter().any(|row| row.contains(&format!("| {why}"))), "{why} in\n{text}");
        }
        assert!(
            explain("[[allow]]\nwhen = { scopes = 'x' }\nroutes = ['GET /a']", "{}", None)
                .contains("no: the claim scopes is absent")
        );
    }

    #[test]
    fn a_rule_of_the_stage_and_the_api_applies() {
        let request = "GET /orders/7/invoice";
        let allowed = format!(
            "{request}: allowed by the rule in line 13: [[allow]] \
             api    = \"abcdef1234\" stage  = [\"dev\", \"test\"] when   = {{ uid = {{ present = true }} }}"
        );
        let denied = format!("{request}: denied: no rule grants it");
        for (place, row, verdict) in [
            ((DEFAULT_API, "dev"), "yes | GET /orders/*/invoice", &allowed),
            ((DEFAULT_API, "test"), "yes | GET /orders/*/invoice", &allowed),
            ((DEFAULT_API, DEFAULT_STAGE), "no: for stage dev, test only |", &denied),
            (("zyxwvu9876", "dev"), "no: for API abcdef1234 only |", &denied),
        ] {
            let (text, is_good) = explain_all(EXAMPLE_RULES, r#"{"uid":"u1"}"#, place, &[request]);
            assert!(is_good);
            assert!(rows(&text).contains(&format!("line 13 | {row}")), "{text}");
            assert_eq!(text.lines().next(), Some(verdict.as_str()));
            let (api, stage) = place;
            assert!(text.contains(&format!(":{api}/{stage}/GET/apps\"")), "{text}");
        }
    }

    #[test]
    fn says_what_a_star_inside_of_a_route_is() {
        let sentence = |routes: &str, claims: &str| {
            let rules = format!("[[allow]]\nwhen = {{ uid = '{{uid}}' }}\nroutes = [{routes}]\n");
            let text = explain(&rules, claims, None);
            text.lines().find(|line| line.starts_with("A `*`")).map(str::to_owned)
        };
        let uid = r#"{"uid":"u1"}"#;
        assert_eq!(
            sentence("'GET /a/*', 'GET /{uid}/*/invoice', 'GET /*/x'", uid).as_deref(),
            Some(
                "A `*` inside of a route is any characters, slashes included: `GET /u1/*/invoice` is also `GET /u1/a/b/invoice`."
            )
        );
        assert_eq!(
            sentence("'GET /*/x/*'", uid).as_deref(),
            Some("A `*` inside of a route is any characters, slashes included: `GET /*/x/*` is also `GET /a/b/x/*`.")
        );
        assert_eq!(sentence("'GET /a/*', 'GET /*', 'GET /{uid}'", uid), None);
        assert_eq!(sentence("'GET /*/x'", "{}"), None);
    }

    #[test]
    fn a_request_that_another_policy_leaves_out_is_a_failure() {
        let claims = |count: usize| format!(r#"{{"tenants":{}}}"#, tenants(count));
        let requests = ["GET /000/x", "GET /498/x", "GET /499/x"];
        let (text, is_good) = explain_all(TENANT_RULES, &claims(500), IN_PROD, &requests);
        assert!(!is_good);
        let allowed = "allowed by the rule in line 1: [[allow]] when = { tenants = '{id}' }";
        let denied = format!(
            "denied under the policy that was made for GET /000/x (83 routes left out), and under 1 more; ways out: {WAYS_OUT}"
        );
        let expected = [
            format!("policy for GET /000/x: 32663 of 32768 bytes, 83 routes left out; ways out: {WAYS_OUT}"),
            format!("GET /000/x: {allowed}"),
            format!("GET /498/x: {allowed}"),
            format!("GET /498/x: {denied}"),
            format!("GET /499/x: {allowed}"),
            format!("GET /499/x: {denied}"),
        ];
        assert_eq!(size_and_answers(&text), expected);

        // Alone, a request has the policy that is made for it.
        let (text, is_good) = explain_all(TENANT_RULES, &claims(500), IN_PROD, &["GET /499/x"]);
        assert!(is_good);
        let size = format!("policy: 32663 of 32768 bytes, 83 routes left out; ways out: {WAYS_OUT}");
        assert_eq!(size_and_answers(&text), [&size, &format!("GET /499/x: {allowed}")]);

        let (text, is_good) = explain_all(TENANT_RULES, &claims(10), IN_PROD, &["GET /000/x", "GET /009/x"]);
        assert!(is_good);
        let size = "policy for GET /000/x: 3766 of 32768 bytes";
        assert_eq!(
            size_and_answers(&text),
            [size, &format!("GET /000/x: {allowed}"), &format!("GET /009/x: {allowed}")]
        );
    }

    #[test]
    fn shows_a_rule_that_denies_the_whole_stage() {
        let text = explain(EXAMPLE_RULES, r#"{"groups":["a/b-SUSPENDED"]}"#, None);
        assert!(text.contains("denies the whole"), "{text}");
    }

    #[test]
    fn escapes_terminal_commands_in_claims() {
        let text = explain(EXAMPLE_RULES, r#"{"tenants":["1:\u001b[31m\u202e"]}"#, None);
        assert!(text.contains("`1:\\u{1b}[31m\\u{202e}`") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn shows_that_a_too_long_resource_is_left_out() {
        let value = "x".repeat(128);
        let rules = "[[allow]]
when = { a = '{a}', b = '{b}', c = '{c}', d = '{d}' }
routes = ['GET /{a}/{b}/{c}/{d}', 'GET /{a}']
";
        let claims = format!(r#"{{"a":"{value}","b":"{value}","c":"{value}","d":"{value}"}}"#);
        let text = explain(rules, &claims, None);
        assert!(text.contains("over 512") && text.contains("1 route left out"), "{text}");
    }

    #[test]
    fn says_why_a_route_is_left_out() {
        // `GET/000/` and 445 characters after the stage are 512, the longest resource.
        let shown = |length: usize| {
            let rules =
                format!("[[allow]]\nwhen = {{ t = '{{t}}' }}\nroutes = ['GET /{{t}}/{}']\n", "x".repeat(length));
            let rules = Rules::parse(&rules).unwrap();
            let claims = claims::read(&format!(r#"{{"t":{}}}"#, tenants(100))).unwrap();
            let stage = Stage::new(DEFAULT_API, DEFAULT_STAGE).unwrap();
            let first = FirstRequest::new(&rules, &claims, DEFAULT_OPTIONS, stage.request("GET /").unwrap());
            let document = Document::parse(&first.policy.document).unwrap();
            let shown = routes(&rules.evaluate(&claims, &first.request)[0], &first.request, &document);
            shown.replace('x', "")
        };
        let longest = shown(445);
        assert!(longest.starts_with("GET /000/\n") && longest.ends_with("\nGET /099/ (left out)"), "{longest}");
        let too_long = shown(446);
        assert!(too_long.starts_with("GET /000/ (left out: over 512 characters)\n"), "{too_long}");
    }

    #[test]
    fn shows_the_first_thousand_lines_of_a_rule() {
        let rules = |routes: &str| format!("[[allow]]\nwhen = {{ a = '{{a}}', b = '{{b}}' }}\nroutes = [{routes}]\n");
        let values = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let claims_of = |a, b| serde_json::json!({ "a": values(a), "b": values(b) }).to_string();
        let claims = |count| claims_of(10, count);
        let count = |text: &str, part: &str| text.lines().filter(|line| line.contains(part)).count();
        let whole = explain(&rules("'GET /x/{a}/{b}'"), &claims(100), None);
        assert_eq!((count(&whole, "a = "), count(&whole, "GET /x/"), count(&whole, "and more")), (1_000, 1_000, 0));
        let cut = explain(&rules("'GET /x/{a}/{b}'"), &claims(101), None);
        assert_eq!((count(&cut, "a = "), count(&cut, "GET /x/")), (1_000, 1_000));
        assert_eq!(cut.matches("… and more").count(), 2);
        assert!(!cut.contains("too many"));
        let too_many = explain(&rules("'GET /x/{a}/{b}'"), &claims_of(100, 101), None);
        assert_eq!(count(&too_many, "100 more, left out because there are too many"), 1);
    }

    #[test]
    fn prints_the_fields_of_the_policy_in_their_order() {
        let text = explain(EXAMPLE_RULES, "{}", None);
        let policy = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Action": [
        "execute-api:Invoke"
      ],
      "Effect": "Allow",
      "Resource": [
        "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/GET/apps"
      ]
    }
  ]
}"#;
        assert!(text.contains(policy), "{text}");
    }

    #[test]
    fn an_explanation_has_the_words_of_explain() {
        let explainer = Explainer(Rules::parse(EXAMPLE_RULES).unwrap());
        let token = |payload: &str| format!("Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.{payload}.AAAA");
        // {"tenants":"0oa1:acme"}
        let acme = token("eyJ0ZW5hbnRzIjoiMG9hMTphY21lIn0");
        let arn = |request: &str| format!("arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/{request}");
        let explain = |token: &str, request: &str| explainer.explain(token, &arn("GET/apps"), &arn(request));
        for (request, is_guarded, text) in [
            ("GET/apps", false, "allowed by the rule in line 6"),
            ("GET/t/acme/a", false, "allowed by the rule \"tenant members\""),
            ("GET/t/umbra/a", false, "denied: no rule grants it"),
            ("GET/t/acme/../umbra", true, "denied by the path guard"),
        ] {
            let expected = Explanation { is_guarded, text: text.to_owned() };
            assert_eq!(explain(&acme, request), Some(expected), "{request}");
        }
        assert_eq!(explain(&token("e"), "GET/apps"), None);
        assert_eq!(explainer.explain(&acme, "no ARN", &arn("GET/apps")), None);
    }
}
