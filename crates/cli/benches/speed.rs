//! How long `check`, `cover` and `diff` take for an API of 1,000 operations and 200 rules.
//! `cargo bench -p okta-policy`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot continue must show where and stop")]

use std::{fmt::Write, hint::black_box, sync::Arc, time::Instant};

use okta_authorizer_policy::Rules;
use okta_policy::{
    api::{self, BasePath},
    cover::{Target, cover},
    diff::diff,
    lints::lint,
    report::File,
};

/// 1,000 operations: 100 resources with 10 operations each.
fn api() -> String {
    let mut paths = String::new();
    let security = r#"{"security":[{"okta":[]}]}"#;
    for number in 0..100 {
        let separator = if number == 0 { "" } else { "," };
        write!(
            paths,
            r#"{separator}"/r{number}":{{"get":{security},"post":{security}}},
            "/r{number}/{{id}}":{{"get":{security},"put":{security},"delete":{security}}},
            "/r{number}/{{id}}/parts":{{"get":{security},"post":{security}}},
            "/r{number}/{{id}}/parts/{{part}}":{{"get":{security},"put":{security},"delete":{security}}}"#
        )
        .unwrap();
    }
    format!(
        r#"{{"openapi":"3.0.1","paths":{{{paths}}},"components":{{"securitySchemes":{{"okta":{{"type":"oauth2"}}}}}}}}"#
    )
}

/// 200 rules: for each resource a scope for reading, and its owner. `changed` is one more route.
fn rules(changed: bool) -> String {
    let mut rules = String::new();
    for number in 0..100 {
        let more = if changed && number == 50 { ", \"PATCH /r50\"" } else { "" };
        write!(
            rules,
            "[[allow]]\nwhen = {{ scopes = [\"r{number}:read\", \"read\"] }}
routes = [\"GET /r{number}\", \"GET /r{number}/*\", \"POST /r{number}/*/parts\"{more}]\n
[[allow]]\nwhen = {{ groups = \"r{number}-{{id}}\", uid = {{ present = true }} }}
routes = [\"POST /r{number}\", \"ANY /r{number}/{{id}}\", \"ANY /r{number}/{{id}}/parts/*\"]\n\n"
        )
        .unwrap();
    }
    rules
}

fn file(name: &str, text: String) -> Arc<File> {
    Arc::new(File { name: name.to_owned(), text })
}

fn main() {
    let api = file("api.json", api());
    let (old, new) = (file("old.toml", rules(false)), file("new.toml", rules(true)));
    let (old_rules, new_rules) = (Rules::parse(&old.text).unwrap(), Rules::parse(&new.text).unwrap());
    let parsed = || api::parse(&api, BasePath::Ignore, &|_| None).unwrap();
    let read = parsed();
    println!("| {} operations, {} rules | time |", read.operations.len(), old_rules.in_file_order().len());
    println!("|---|---:|");
    measure("read the API", || parsed().operations.len());
    measure("check", || lint(&old_rules, &old).len());
    measure("cover", || cover(&old_rules, &old, &read, Target::default()).len());
    measure("diff", || diff((&old_rules, &old), (&new_rules, &new), None).len());
    measure("diff --api", || diff((&old_rules, &old), (&new_rules, &new), Some(&read)).len());
    let none = file("none.toml", "[[allow]]\nroutes = ['GET /none']\n".to_owned());
    let none_rules = Rules::parse(&none.text).unwrap();
    measure("diff, every rule is new", || diff((&none_rules, &none), (&old_rules, &old), None).len());
    measure("diff --api, every rule is new", || diff((&none_rules, &none), (&old_rules, &old), Some(&read)).len());
}

fn measure(name: &str, run: impl Fn() -> usize) {
    let start = Instant::now();
    black_box(run());
    println!("| {name} | {:.0} ms |", start.elapsed().as_secs_f64() * 1e3);
}
