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
        assert!(text.ends_with(ALLOWED), "{claims}: {text}");
    }
    for stdin in [json, TOKEN, &bearer, &format!("{bearer}\n"), &format!("\u{feff}{json}\r\n")] {
        let text = run_with(&folder, &["explain", "-", "GET /users/u1"], stdin, &[]).success();
        assert!(text.ends_with(ALLOWED), "{stdin}: {text}");
    }
}

#[test]
fn explain_of_a_denied_request_is_a_success() {
    let folder = folder("explain_denied");
    let text = run(&folder, &["explain", r#"{"uid":"u1"}"#, "GET /users/u2"]).success();
    assert!(text.ends_with("GET /users/u2: denied: no rule grants it\n"), "{text}");
}

#[test]
fn explain_without_a_request_has_no_verdict() {
    let folder = folder("explain_no_request");
    let text = run(&folder, &["explain", r#"{"uid":"u1"}"#]).success();
    assert!(text.contains("/prod/GET/users/u1\"") && text.ends_with(" of at most 32768 bytes\n"), "{text}");
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
    let last = "GET /599/x: denied under the policy that was made for GET /100/x (83 routes left out); \
                see \"A policy that does not fit\" in docs/rules.md";
    assert_eq!(cut.stdout.lines().last(), Some(last));
    assert!(explain(500, &["GET /599/x"]).success().contains(", 83 routes left out\n"));
    assert!(!explain(10, &["GET /100/x", "GET /109/x"]).success().contains("left out"));
    let larger = explain(500, &["GET /100/x", "GET /599/x", "--max-bytes", "65536"]).success();
    assert!(larger.contains(" of at most 65536 bytes\n"), "{larger}");

    // The variable of the Lambda.
    let case = format!(
        "[[case]]\nname = 'x'\nclaims = {{ tenants = {:?} }}\nallow = ['GET /100/x', 'GET /599/x']\n",
        (100..600).collect::<Vec<_>>()
    );
    fs::write(folder.join("tenants.tests.toml"), case).unwrap();
    let test = ["test", "tenants.tests.toml", "--rules", "tenants.toml"];
    let with_bytes = |bytes| run_with(&folder, &test, "", &[("POLICY_MAX_BYTES", bytes)]);
    assert_eq!(with_bytes("65536").success(), "tenants.tests.toml: 2 requests as expected\n");
    let failure = "tenants.tests.toml, line 1: the case \"x\": GET /599/x is denied under the policy that was made for \
                   GET /100/x (83 routes left out); see \"A policy that does not fit\" in docs/rules.md\n\
                   1 of 2 requests not as expected\n";
    assert_eq!(with_bytes("32768").findings(), failure);
    assert_eq!(with_bytes("").findings(), failure);
    let error = with_bytes("8191").refusal();
    assert!(error.contains("8191 is not in 8192..=1048576"), "{error}");
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
        "`dev/GET` is not the name of a stage: expected 1 to 128 letters, digits, `-` and `_`\n"
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
    for (arguments, error) in [
        (["nonsense", "GET /a"], "not an access token: the token does not have three parts\n"),
        (["-", "GET /a"], "not an access token: there is no token\n"),
        ([r#"{"uid":7}"#, "GET /a"], "a token with these claims is refused: the claim uid has the wrong type\n"),
        (
            ["{}", "GET"],
            "`GET` is not a request: expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, a space, and a path\n",
        ),
    ] {
        assert_eq!(run(&folder, &["explain", arguments[0], arguments[1]]).refusal(), error, "{arguments:?}");
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
    assert_eq!(
        run(&folder, &["test", "swapped.toml"]).findings(),
        "swapped.toml, line 1: the case \"own\": GET /users/u2 should be allowed, and is denied: no rule grants it
swapped.toml, line 1: the case \"own\": GET /users/u1 should be denied, and is allowed by the rule in line 1
2 of 2 requests not as expected\n"
    );
    assert_eq!(run(&folder, &["test", "empty.toml"]).refusal(), "empty.toml, line 1: missing field `case`\n");
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
