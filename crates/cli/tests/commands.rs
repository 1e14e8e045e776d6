//! Runs the binary: exit codes, both output streams, and where claims and rules come from.

#![expect(clippy::unwrap_used, reason = "a test helper that cannot continue must show where and stop")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const RULES: &str = "[[allow]]\nwhen = { uid = '{uid}' }\nroutes = ['GET /users/{uid}']\n";
const TESTS: &str =
    "[[case]]\nname = 'own'\nclaims = { uid = 'u1' }\nallow = ['GET /users/u1']\ndeny = ['GET /users/u2']\n";
const BAD_RULES: &str = "[[allow]]\nroutes = ['FETCH /users']\n";

/// The header `{"alg":"RS256","kid":"x"}`, the payload `{"uid":"u1"}`, and no real signature.
const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJ1aWQiOiJ1MSJ9.AAAA";

const ALLOWED: &str = "GET /users/u1: allowed by the rule in line 1: [[allow]] when = { uid = '{uid}' }\n";

/// A new empty folder with `policy.toml` and `policy.tests.toml`.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("policy.toml"), RULES).unwrap();
    fs::write(folder.join("policy.tests.toml"), TESTS).unwrap();
    folder
}

#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    /// What a command printed that must have succeeded.
    #[track_caller]
    fn success(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        self.stdout
    }

    /// What a command found.
    #[track_caller]
    fn findings(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(1), ""));
        self.stdout
    }

    /// Why a command could not do its work.
    #[track_caller]
    fn refusal(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(2), ""));
        self.stderr
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Run {
    run_with(folder, arguments, "", &[])
}

fn run_with(folder: &Path, arguments: &[&str], stdin: &str, variables: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_okta-policy"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("POLICY_FILE")
        .env_remove("POLICY_MAX_BYTES")
        .envs(variables.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may have ended.
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn explain_reads_json_a_token_a_file_and_standard_input() {
    let folder = folder("explain_reads");
    let json = r#"{"uid":"u1"}"#;
    let bearer = format!("Bearer {TOKEN}");
    fs::write(folder.join("claims.json"), json).unwrap();
    fs::write(folder.join("token.txt"), format!("{bearer}\n")).unwrap();
    for claims in [json, TOKEN, &bearer, "claims.json", "token.txt"] {
        let text = run(&folder, &["explain", claims, "GET /users/u1"]).success();
        assert!(text.starts_with(ALLOWED), "{claims}: {text}");
    }
    for stdin in [json, TOKEN, &bearer, &format!("{bearer}\n"), &format!("\u{feff}{json}\r\n")] {
        let text = run_with(&folder, &["explain", "-", "GET /users/u1"], stdin, &[]).success();
        assert!(text.starts_with(ALLOWED), "{stdin}: {text}");
    }
}

#[test]
fn explain_of_a_denied_request_is_a_success() {
    let folder = folder("explain_denied");
    let text = run(&folder, &["explain", r#"{"uid":"u1"}"#, "GET /users/u2"]).success();
    assert!(text.starts_with("GET /users/u2: denied: no rule grants it\n"), "{text}");
}

#[test]
fn explain_without_a_request_has_no_verdict() {
    let folder = folder("explain_no_request");
    let text = run(&folder, &["explain", r#"{"uid":"u1"}"#]).success();
    assert!(text.contains("/prod/GET/users/u1\"") && text.starts_with('┌'), "{text}");
}

#[test]
fn explain_takes_several_requests_and_fails_if_the_cache_decides() {
    let folder = folder("explain_several");
    let claims = |count: usize| serde_json::json!({ "tenants": (100..100 + count).collect::<Vec<_>>() }).to_string();
    fs::write(folder.join("tenants.toml"), "[[allow]]\nwhen = { tenants = '{id}' }\nroutes = ['GET /{id}/*']\n")
        .unwrap();
    let explain = |count: usize, requests: &[&str]| {
        let claims = claims(count);
        let arguments = [&["explain", &claims], requests, &["--rules", "tenants.toml"]].concat();
        run(&folder, &arguments)
    };
    let cut = explain(500, &["GET /100/x", "GET /599/x"]);
    assert_eq!((cut.code, cut.stderr.as_str()), (Some(1), ""));
    let ways_out = "ways out: fewer routes, a larger POLICY_MAX_BYTES (here: --max-bytes), or no result cache; \
                    see \"A policy that does not fit\" in docs/rules.md";
    let denied =
        format!("GET /599/x: denied under the policy that was made for GET /100/x (83 routes left out); {ways_out}");
    assert_eq!(cut.stdout.lines().nth(2), Some(denied.as_str()));
    assert!(explain(500, &["GET /599/x"]).success().contains(&format!(", 83 routes left out; {ways_out}\n")));
    assert!(!explain(10, &["GET /100/x", "GET /109/x"]).success().contains("left out"));
    let larger = explain(500, &["GET /100/x", "GET /599/x", "--max-bytes", "65536"]).success();
    assert!(larger.contains(" of 65536 bytes\n"), "{larger}");

    // The variable of the Lambda.
    let case = format!(
        "[[case]]\nname = 'x'\nclaims = {{ tenants = {:?} }}\nallow = ['GET /100/x', 'GET /599/x']\n",
        (100..600).collect::<Vec<_>>()
    );
    fs::write(folder.join("tenants.tests.toml"), case).unwrap();
    let test = ["test", "tenants.tests.toml", "--rules", "tenants.toml"];
    let with_bytes = |bytes| run_with(&folder, &test, "", &[("POLICY_MAX_BYTES", bytes)]);
    assert_eq!(with_bytes("65536").success(), "tenants.tests.toml: 2 requests as expected\n");
    for bytes in ["32768", ""] {
        let found = with_bytes(bytes).findings();
        let start = "error[other-answer-in-cache]: the case \"x\": GET /599/x is denied under the policy that was made for \
                     GET /100/x (83 routes left out)\n --> tenants.tests.toml:4:";
        assert!(found.starts_with(start) && found.contains(ways_out), "{found}");
        assert!(found.contains(" 'GET /100/x' 'GET /599/x' --rules 'tenants.toml'\n"), "{found}");
        assert!(found.ends_with("\ntenants.tests.toml: 2 requests, 1 error\n"), "{found}");
    }
    let error = with_bytes("8191").refusal();
    assert!(error.contains("expected a number from 8192 to 1048576"), "{error}");
}

#[test]
fn explain_takes_the_stage_and_the_api_of_the_requests() {
    let folder = folder("explain_stage");
    fs::write(folder.join("dev.toml"), format!("{RULES}stage = 'dev'\napi = 'a1b2c3d4e5'\n")).unwrap();
    let explain = |options: &[&str]| {
        let arguments = ["explain", r#"{"uid":"u1"}"#, "GET /users/u1", "--rules", "dev.toml"];
        run(&folder, &[&arguments, options].concat())
    };
    let text = explain(&["--stage", "dev", "--api", "a1b2c3d4e5"]).success();
    assert!(text.contains(":a1b2c3d4e5/dev/GET/users/u1\""), "{text}");
    assert!(explain(&["--stage", "dev"]).success().contains("no: for API a1b2c3d4e5 only"));
    assert!(explain(&["--api", "a1b2c3d4e5"]).success().contains("no: for stage dev only"));
    assert_eq!(
        explain(&["--stage", "dev/GET"]).refusal(),
        "`dev/GET` is not the name of a stage; expected 1 to 128 letters, digits, `-` and `_`\n"
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_named() {
    let folder = folder("not_utf_8");
    let utf_16 = |text: &str| -> Vec<u8> {
        let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let claims = r#"{"uid":"u1"}"#;
    for (name, text) in [("policy", RULES), ("tests", TESTS), ("claims", claims)] {
        fs::write(folder.join(name), utf_16(text)).unwrap();
        fs::write(folder.join(format!("{name}-bom")), format!("\u{feff}{text}")).unwrap();
        fs::write(folder.join(format!("{name}-latin-1")), [text.as_bytes(), b"# \xe4"].concat()).unwrap();
    }
    for [before, name, after] in [
        [["check"].as_slice(), &["policy"], &[]],
        [&["test", "--rules"], &["policy"], &[]],
        [&["test"], &["tests"], &[]],
        [&["explain"], &["claims"], &["GET /users/u1"]],
    ] {
        let run = |suffix: &str| run(&folder, &[before, &[&format!("{}{suffix}", name[0])], after].concat());
        run("-bom").success();
        let utf_16 =
            "the file is UTF-16, as PowerShell writes it; save it as UTF-8 (in PowerShell: Out-File -Encoding utf8)";
        assert_eq!(run("").refusal(), format!("{}: {utf_16}\n", name[0]));
        let other = "the file is not UTF-8; save it as UTF-8";
        assert_eq!(run("-latin-1").refusal(), format!("{}-latin-1: {other}\n", name[0]));
    }
}

#[test]
fn explain_names_what_is_wrong_with_its_input() {
    let folder = folder("explain_wrong");
    fs::write(folder.join("array.json"), "[1]").unwrap();
    let not_json = "the claims are not a JSON object; expected one such as {\"uid\":\"00u1\"}\n";
    let no_stage = "is not the name of a stage; expected 1 to 128 letters, digits, `-` and `_`\n";
    for (arguments, error) in [
        (
            ["explain", "nonsense"].as_slice(),
            "not an access token: the token does not have three parts; expected claims such as {\"uid\":\"00u1\"}, a file \
             with them, an access token, or `-` for standard input\n",
        ),
        (&["explain", "-"], "not an access token: there is no token\n"),
        (
            &["explain", "a.b.c.d.e"],
            "not an access token: the token has five parts, so it is encrypted; the authorizer reads signed tokens only\n",
        ),
        (
            &["explain", "abc.def.ghi"],
            "not an access token: the header is not a JSON object with unique names; expected a token as Okta issues it\n",
        ),
        (&["explain", "[1]"], not_json),
        (&["explain", "array.json"], &format!("array.json: {not_json}")),
        (&["explain", "claim.json"], "claim.json: there is no such file\n"),
        (&["explain", "TOKEN.TXT"], "TOKEN.TXT: there is no such file\n"),
        (&["explain", "my/claims"], "my/claims: there is no such file\n"),
        (&["explain", r"my\claims"], "my\\claims: there is no such file\n"),
        (&["explain", "."], ".: this is a folder; expected a file\n"),
        (&["check", "."], ".: this is a folder; expected a file\n"),
        (&["explain", r#"{"uid":7}"#], "a token with these claims is refused: the claim uid has the wrong type\n"),
        (&["explain", "{}", "GET"], "`GET` is not a request: it has no path; write `GET /` or another path\n"),
        (&["explain", "{}", "--stage", ""], &format!("`` {no_stage}")),
        (&["explain", "{}", "--stage", "a b"], &format!("`a b` {no_stage}")),
    ] {
        assert_eq!(run(&folder, arguments).refusal(), error, "{arguments:?}");
    }
}

#[test]
fn explain_reads_a_token_event() {
    let folder = folder("explain_event");
    let event = |kind: &str, token: &str, arn: &str| {
        fs::write(
            folder.join("event.json"),
            serde_json::json!({ "type": kind, "authorizationToken": token, "methodArn": arn }).to_string(),
        )
        .unwrap();
        run(&folder, &["explain", "--event", "event.json"])
    };
    let (bearer, arn) =
        (format!("Bearer {TOKEN}"), "arn:aws:execute-api:eu-west-1:210987654321:a1b2c3d4e5/dev/GET/users/u1");
    let text = event("TOKEN", &bearer, arn).success();
    assert!(text.starts_with(ALLOWED), "{text}");
    assert!(text.contains("\"arn:aws:execute-api:eu-west-1:210987654321:a1b2c3d4e5/dev/GET/users/u1\""), "{text}");
    let expected = "expected {\"type\":\"TOKEN\",\"authorizationToken\":\"Bearer …\",\"methodArn\":\"arn:…\"}";
    for (run, error) in [
        (event("REQUEST", &bearer, arn), "the event's `type` is not TOKEN, and the authorizer takes no other"),
        (
            event("TOKEN", TOKEN, arn),
            "the event's `authorizationToken` does not start with `Bearer `, so the caller gets 401",
        ),
        (event("TOKEN", "Bearer a.b", arn), "not an access token: the token does not have three parts; "),
        (
            event("TOKEN", &bearer, "arn:x"),
            "`arn:x` is not the ARN of a method; expected arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/path",
        ),
    ] {
        let message = run.refusal();
        assert!(message.starts_with(&format!("event.json: {error}")), "{message}");
    }
    for (json, error) in [
        ("{", "not an event: EOF while parsing an object at line 1 column 1"),
        ("{}", "the event has no `authorizationToken`"),
        (r#"{"authorizationToken":"x"}"#, "the event has no `methodArn`"),
    ] {
        fs::write(folder.join("event.json"), json).unwrap();
        let message = run(&folder, &["explain", "--event", "event.json"]).refusal();
        assert_eq!(message, format!("event.json: {error}; {expected}\n"));
    }
}

#[test]
fn check_accepts_a_good_file_and_shows_a_mistake() {
    let folder = folder("check");
    fs::write(folder.join("bad.toml"), BAD_RULES).unwrap();
    assert_eq!(run(&folder, &["check"]).success(), "policy.toml: good\n");
    assert_eq!(run(&folder, &["check", "./policy.toml"]).success(), "./policy.toml: good\n");
    let error = run(&folder, &["check", "bad.toml"]).findings();
    assert!(error.starts_with("error[mistake]: the route `FETCH /users` has the method"), "{error}");
    assert!(error.contains("\n --> bad.toml:2:11\n"), "{error}");

    fs::write(folder.join("two.toml"), format!("{BAD_RULES}{BAD_RULES}")).unwrap();
    let error = run(&folder, &["check", "two.toml"]).findings();
    let places: Vec<_> = error.lines().filter_map(|line| line.trim().strip_prefix("--> ")).collect();
    assert_eq!(places, ["two.toml:2:11", "two.toml:4:11"]);
}

#[test]
fn check_refuses_a_file_of_more_than_100_kib() {
    let folder = folder("check-long");
    let padded = |bytes: usize| format!("{RULES}#{}", "x".repeat(bytes - RULES.len() - 1));
    fs::write(folder.join("longest.toml"), padded(102_400)).unwrap();
    fs::write(folder.join("too-long.toml"), padded(102_401)).unwrap();
    assert_eq!(run(&folder, &["check", "longest.toml"]).success(), "longest.toml: good\n");
    let error = run(&folder, &["check", "too-long.toml"]).findings();
    assert!(
        error.starts_with("error[mistake]: the file has 102401 bytes; at most 102400 are accepted\n"),
        "{error:.300}"
    );
    assert!(error.contains("\n --> too-long.toml:1:1\n"), "{error:.300}");
    assert!(error.len() < 1_000, "the whole file is printed");
}

#[test]
fn test_counts_requests_and_lists_failures() {
    let folder = folder("test");
    let swapped = TESTS.replace("allow", "x").replace("deny", "allow").replace('x', "deny");
    fs::write(folder.join("swapped.toml"), swapped).unwrap();
    fs::write(folder.join("empty.toml"), "").unwrap();
    assert_eq!(run(&folder, &["test"]).success(), "policy.tests.toml: 2 requests as expected\n");
    assert_eq!(
        run(&folder, &["test", "./policy.tests.toml"]).success(),
        "./policy.tests.toml: 2 requests as expected\n"
    );
    let found = run(&folder, &["test", "swapped.toml"]).findings();
    let expected = r#"error[unexpected-answer]: the case "own": GET /users/u2 should be allowed, and is denied: no rule grants it
 --> swapped.toml:5:10
  |
5 | allow = ['GET /users/u2']
  |          ^^^^^^^^^^^^^^^
  |
  = note: a token with {"uid":"u1"} and GET /users/u2: 403
  = help: the rule in line 1 has such a route, but with other values: uid = u1
  = help: to see more: okta-policy explain '{"uid":"u1"}' 'GET /users/u2'

error[unexpected-answer]: the case "own": GET /users/u1 should be denied, and is allowed by the rule in line 1
 --> swapped.toml:4:9
  |
4 | deny = ['GET /users/u1']
  |         ^^^^^^^^^^^^^^^
  |
 ::: policy.toml:3:11
  |
3 | routes = ['GET /users/{uid}']
  |           ------------------ it is allowed here
  |
  = note: a token with {"uid":"u1"} and GET /users/u1: 200
  = help: to see more: okta-policy explain '{"uid":"u1"}' 'GET /users/u1'

swapped.toml: 2 requests, 2 errors
"#;
    assert_eq!(found, expected);
    let error = run(&folder, &["test", "empty.toml"]).refusal();
    assert!(error.starts_with("error[mistake]: there is no case; write one, such as [[case]]"), "{error}");
}

#[test]
fn test_prints_json_and_annotations_too() {
    let folder = folder("test_formats");
    let one = TESTS.replace("u2", "u1").replace("allow = ['GET /users/u1']\n", "");
    fs::write(folder.join("one.toml"), one).unwrap();
    let json = run(&folder, &["test", "one.toml", "--format", "json"]).findings();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["good"], false);
    assert_eq!(json["findings"][0]["kind"], "unexpected-answer");
    assert_eq!(json["findings"][0]["witness"]["claims"]["uid"], "u1");
    assert_eq!(json["findings"][0]["places"][1]["file"], "policy.toml");
    let github = run(&folder, &["test", "one.toml", "--format", "github"]).findings();
    let start = "::error title=unexpected-answer,file=one.toml,line=4,endLine=4,col=9,endColumn=24::the case \"own\": ";
    assert!(github.starts_with(start), "{github}");
    // Mistakes are findings too, but the tests cannot run.
    fs::write(folder.join("bad.toml"), "[[cases]]\n").unwrap();
    let bad = run(&folder, &["test", "bad.toml", "--format", "github"]);
    assert_eq!((bad.code, bad.stderr.as_str()), (Some(2), ""));
    let expected = "::error title=mistake,file=bad.toml,line=1,endLine=1,col=3,endColumn=8::unknown key `cases`; write \
                    [[case]]\nbad.toml: 1 error\n";
    assert_eq!(bad.stdout, expected);
}

#[test]
fn test_warns_of_what_no_case_exercises_and_strict_fails() {
    let folder = folder("test_strict");
    fs::write(folder.join("two.toml"), format!("{RULES}[[allow]]\nroutes = ['GET /apps']\n")).unwrap();
    let of_two = |more: &[&str]| run(&folder, &[&["test", "--rules", "two.toml"], more].concat());
    let text = of_two(&[]).success();
    let start = "warning[untested-rule]: no case exercises the rule in line 4\n --> two.toml:4:1\n";
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with("\npolicy.tests.toml: 2 requests as expected, 1 warning\n"), "{text}");
    let found = of_two(&["--strict"]).findings();
    assert!(found.starts_with(&start.replace("warning", "error")), "{found}");
    assert!(found.ends_with("\npolicy.tests.toml: 2 requests, 1 error\n"), "{found}");
    run(&folder, &["test", "--strict"]).success();
}

#[test]
fn mistakes_of_rules_and_tests_are_reported_together() {
    let folder = folder("test_both");
    fs::write(folder.join("bad.toml"), BAD_RULES).unwrap();
    fs::write(folder.join("bad.tests.toml"), "[case]\n").unwrap();
    let error = run(&folder, &["test", "bad.tests.toml", "--rules", "bad.toml"]).refusal();
    let places: Vec<_> = error.lines().filter_map(|line| line.trim().strip_prefix("--> ")).collect();
    assert!(places.starts_with(&["bad.toml:2:11", "bad.tests.toml:1:1"]), "{error}");
    // One in place of the other.
    let error = run(&folder, &["test", "policy.toml"]).refusal();
    assert!(
        error.starts_with("error[mistake]: this is a rules file, because it has [[allow]] or [[deny]];"),
        "{error}"
    );
}

#[test]
fn tests_use_the_rules_of_their_own_folder() {
    let folder = folder("test_folder");
    fs::create_dir(folder.join("other")).unwrap();
    fs::write(folder.join("other/policy.toml"), "[[allow]]\nroutes = ['GET /users/u1']\n").unwrap();
    fs::write(folder.join("other/a.toml"), TESTS.replace("uid = 'u1'", "")).unwrap();
    assert_eq!(run(&folder, &["test", "other/a.toml"]).success(), "other/a.toml: 2 requests as expected\n");
    run(&folder, &["test", "other/a.toml", "--rules", "policy.toml"]).findings();
}

#[test]
fn the_rules_of_a_bundle_are_in_its_folder_function() {
    let folder = folder("bundle");
    fs::create_dir(folder.join("function")).unwrap();
    fs::rename(folder.join("policy.toml"), folder.join("function/policy.toml")).unwrap();
    let api = serde_json::json!({
        "openapi": "3.0.1",
        "paths": { "/users/{id}": { "get": { "security": [{ "okta": [] }] } }, "/x": { "get": {} } },
        "components": { "securitySchemes": { "okta": {
            "type": "apiKey",
            "x-amazon-apigateway-authorizer": { "type": "token" },
        } } },
    });
    fs::write(folder.join("api.json"), api.to_string()).unwrap();
    let expected = format!("{TESTS}[[expected]]\nfinding = 'open-operation'\non = 'GET /x'\nreason = 'x'\n");
    fs::write(folder.join("policy.tests.toml"), expected).unwrap();
    let inside = folder.join("function");
    let commands: [(&[&str], &str); 6] = [
        (&["check"], "function/policy.toml: good\n"),
        (&["test"], "policy.tests.toml: 2 requests as expected\n"),
        (&["test", "../policy.tests.toml"], "../policy.tests.toml: 2 requests as expected\n"),
        (&["explain", r#"{"uid":"u1"}"#, "GET /users/u1"], ALLOWED),
        (&["cover", "--api", "api.json"], "function/policy.toml with api.json: good\n"),
        (&["table", "--api", "api.json"], "<!-- Written by `okta-policy table`. -->\n"),
    ];
    for (arguments, start) in commands {
        let from = if arguments.contains(&"../policy.tests.toml") { &inside } else { &folder };
        let text = run(from, arguments).success();
        assert!(text.starts_with(start), "{arguments:?}: {text}");
    }
    // With two files, a user could check one and deploy the other.
    fs::write(folder.join("policy.toml"), BAD_RULES).unwrap();
    let both =
        "there are policy.toml and function/policy.toml; name the one that is deployed, or set POLICY_FILE to it\n";
    for (arguments, _) in commands.iter().filter(|(arguments, _)| !arguments.contains(&"../policy.tests.toml")) {
        assert_eq!(run(&folder, arguments).refusal(), both, "{arguments:?}");
    }
    assert_eq!(run(&folder, &["check", "function/policy.toml"]).success(), "function/policy.toml: good\n");
    let named = [("POLICY_FILE", "function/policy.toml")];
    assert_eq!(run_with(&folder, &["check"], "", &named).success(), "function/policy.toml: good\n");
}

#[test]
fn a_missing_file_is_named() {
    let folder = folder("missing");
    for arguments in [
        ["explain", "{}", "--rules", "none.toml"].as_slice(),
        &["check", "none.toml"],
        &["test", "--rules", "none.toml"],
        &["test", "none.toml"],
    ] {
        let error = run(&folder, arguments).refusal();
        assert!(error.starts_with("none.toml: "), "{arguments:?}: {error}");
    }
}

#[test]
fn policy_file_names_the_rules_unless_they_are_given() {
    let folder = folder("policy_file");
    fs::write(folder.join("bad.toml"), BAD_RULES).unwrap();
    for (arguments, with_rules) in [
        (["explain", "{}"].as_slice(), ["explain", "{}", "--rules", "policy.toml"].as_slice()),
        (&["check"], &["check", "policy.toml"]),
        (&["test"], &["test", "--rules", "policy.toml"]),
    ] {
        let bad = run_with(&folder, arguments, "", &[("POLICY_FILE", "bad.toml")]);
        // The mistakes are what `check` looks for. The other commands cannot work with them.
        let error = if arguments == ["check"] { bad.findings() } else { bad.refusal() };
        assert!(error.contains("bad.toml:2:11"), "{arguments:?}: {error}");
        run_with(&folder, with_rules, "", &[("POLICY_FILE", "bad.toml")]).success();
        // Empty means unset, as in the Lambda.
        run_with(&folder, arguments, "", &[("POLICY_FILE", "")]).success();
    }
}

#[test]
fn wrong_arguments_have_exit_code_2() {
    let folder = folder("usage");
    for arguments in [
        [].as_slice(),
        &["explain"],
        &["explain", "{}", "--rules"],
        &["explain", "{}", "--rules", ""],
        &["explain", "{}", "--max-bytes", "8191"],
        &["test", "--max-bytes", "x"],
        &["check", "--max-bytes", "32768"],
        &["check", "a", "b"],
        &["check", "--rules", "a"],
        &["test", "a", "b"],
        &["--check"],
        &["chek"],
        &["explain", "{}", "--event", "event.json"],
        &["explain", "--event", "event.json", "--stage", "dev"],
        &["test", "--format", "xml"],
    ] {
        let error = run(&folder, arguments).refusal();
        assert!(error.contains("--help") || error.contains("Usage: "), "{arguments:?}: {error}");
    }
}

#[test]
fn every_command_has_help_with_examples() {
    let folder = folder("help");
    for command in ["explain", "check", "test"] {
        let help = run(&folder, &[command, "--help"]).success();
        for part in [&format!("Examples:\n  okta-policy {command}"), "POLICY_FILE", "policy.toml"] {
            assert!(help.contains(part), "{part} in\n{help}");
        }
    }
    assert!(run(&folder, &["--help"]).success().contains("Exit codes: 0 "));
}

#[test]
fn check_warns_and_is_strict_if_asked() {
    let folder = folder("check_strict");
    let rules = "[[allow]]\nroutes = ['GET /a', 'GET /a']\n";
    fs::write(folder.join("twice.toml"), rules).unwrap();
    let warned = run(&folder, &["check", "twice.toml"]).success();
    assert!(
        warned.starts_with("warning[repeated-route]: ") && warned.ends_with("\ntwice.toml: 1 warning\n"),
        "{warned}"
    );
    let strict = run(&folder, &["check", "twice.toml", "--strict"]);
    assert_eq!((strict.code, strict.stderr.as_str()), (Some(1), ""));
    assert!(strict.stdout.starts_with("error[repeated-route]: ") && strict.stdout.ends_with("\ntwice.toml: 1 error\n"));
    let silenced = format!("# okta-policy: allow(repeated-route) a reason\n{rules}");
    fs::write(folder.join("twice.toml"), silenced).unwrap();
    assert_eq!(run(&folder, &["check", "twice.toml", "--strict"]).success(), "twice.toml: good\n");
}

#[test]
fn diff_fails_only_if_somebody_gains_something_that_nobody_may_gain() {
    let folder = folder("diff");
    let with_put = RULES.replace("routes = [", "routes = ['PUT /users/{uid}', ");
    fs::write(folder.join("more.toml"), with_put).unwrap();
    // The same rules, written otherwise.
    let other = "# A comment.\n[[allow]]\nroutes = [\"GET /users/{me}\"]\nwhen.uid = [\"{me}\"]\nname = \"own\"\n";
    fs::write(folder.join("other.toml"), other).unwrap();
    let none = "no token gains or loses anything\n";
    for same in [["diff", "policy.toml", "other.toml"], ["diff", "other.toml", "policy.toml"]] {
        assert_eq!(run(&folder, &[&same[..], &["--no-new-access"]].concat()).success(), none);
    }
    let gain = ["diff", "policy.toml", "more.toml"];
    let text = run(&folder, &gain).success();
    assert!(text.starts_with("note[gain]: the rule in line 1 now grants `PUT /users/{uid}` to tokens"), "{text}");
    assert!(text.contains(r#"a token with {"uid":"q1"} and PUT /users/q1: was 403, is 200"#), "{text}");
    assert!(text.ends_with("\ngains: 1, losses: 0\n"), "{text}");
    let refused = run(&folder, &[&gain[..], &["--no-new-access", "--format", "github"]].concat());
    assert_eq!((refused.code, refused.stderr.as_str()), (Some(1), ""));
    assert!(refused.stdout.starts_with("::error title=gain,file=more.toml,line=3,"), "{}", refused.stdout);
    let loss = run(&folder, &["diff", "more.toml", "policy.toml", "--no-new-access"]).success();
    assert!(loss.starts_with("note[loss]: ") && loss.ends_with("\ngains: 0, losses: 1\n"), "{loss}");
    fs::write(folder.join("bad.toml"), BAD_RULES).unwrap();
    for wrong in [["diff", "bad.toml", "policy.toml"], ["diff", "policy.toml", "missing.toml"]] {
        assert_eq!(run(&folder, &wrong).code, Some(2), "{wrong:?}");
    }
}
