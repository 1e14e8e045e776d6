//! The same policies for an IAM evaluator of somebody else.

use std::{env, fs::File, io::Write as _};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::json;

use super::{
    generate::case,
    properties::{answers, settings},
};

/// Writes one policy per line, with method ARNs and our verdicts on them.
#[test]
#[ignore = "writes the file that ORACLE_OUT names, for .ci/iam-oracle.sh"]
fn pairs_for_a_foreign_oracle() {
    let path = env::var_os("ORACLE_OUT").expect("ORACLE_OUT names the file to write");
    let mut file = File::create(path).unwrap();
    let settings = settings(300);
    let (cases, mut runner) = (settings.cases, TestRunner::new(settings));
    let mut pairs = 0;
    for _ in 0..cases {
        let case = case().new_tree(&mut runner).unwrap().current();
        let answers = answers(&case).unwrap();
        // The evaluator takes a `*` in a request as a question about all requests. In its patterns,
        // a dot does not match a line break. It does not know resources with an empty path.
        let plain = |arn: &str| !arn.contains('*') && !arn.contains(char::is_control);
        let answerable = answers.iter().filter(|answer| answer.path.len() > 1 && plain(&answer.arn));
        let arns: Vec<_> = answerable.map(|answer| answer.arn.as_str()).collect();
        for made in &answers {
            let verdicts: Vec<_> = arns.iter().map(|arn| (arn, made.policy.verdict(arn).name())).collect();
            pairs += verdicts.len();
            writeln!(file, "{}", json!({ "policy": made.document, "verdicts": verdicts })).unwrap();
        }
    }
    println!("{pairs} pairs of policy and method ARN");
}
