//! Claims as a person writes them: `region=eu`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The claims that are a list in Okta's tokens, even with one value.
const LISTS: [&str; 3] = ["groups", "scp", "tenants"];

/// The claims that are one text in Okta's tokens.
const TEXTS: [&str; 2] = ["sub", "uid"];

/// What is accepted, for the help of a program.
pub const HELP: &str = "\
NAME=TEXT is a claim with this text. If a NAME is there several times, the claim is the list of the
texts; groups, scp and tenants are always lists. NAME:=JSON is a claim with any value, such as
level:=3 or address:={\"country\":\"DE\"}.";

/// The claims of fields `(NAME, TEXT)` and `(NAME:, JSON)`. `taken` has the claims that no field can
/// set, and what to do instead.
///
/// # Errors
/// What a field cannot mean, in one line.
pub fn claims(
    fields: impl IntoIterator<Item = (String, String)>,
    taken: &[(&str, &str)],
) -> Result<Map<String, Value>, String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut claims = Map::new();
    for (field, value) in fields {
        let name = field.strip_suffix(':').unwrap_or(&field);
        if name.is_empty() {
            return Err("a field has no name; expected NAME=TEXT or NAME:=JSON".to_owned());
        }
        if let Some((_, instead)) = taken.iter().find(|(taken, _)| *taken == name) {
            return Err(format!("the claim {name} cannot be set in this way; {instead}"));
        }
        if name == field {
            texts.entry(field).or_default().push(value);
            continue;
        }
        let json = serde_json::from_str(&value)
            .map_err(|error| format!("the value of {name}:= is not JSON ({error}); for a text write {name}=TEXT"))?;
        if claims.insert(name.to_owned(), json).is_some() {
            return Err(format!("{name}:= is there twice; for a list write {name}:=[1,2]"));
        }
    }
    for (name, mut values) in texts {
        let claim = match values.as_mut_slice() {
            [value] if !LISTS.contains(&name.as_str()) => json!(value),
            [_, _, ..] if TEXTS.contains(&name.as_str()) => {
                return Err(format!("{name} is there {} times; expected it once", values.len()));
            }
            _ => json!(values),
        };
        if claims.insert(name.clone(), claim).is_some() {
            return Err(format!("the claim {name} is there as {name}= and as {name}:=; expected one of them"));
        }
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<Value, String> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        claims(fields, &[("exp", "leave it out")]).map(Value::Object)
    }

    #[test]
    fn a_field_is_text_a_repeated_one_a_list_and_the_rest_is_json() {
        for (fields, expected) in [
            (&[][..], json!({})),
            (&[("region", "eu")], json!({ "region": "eu" })),
            (&[("region", "")], json!({ "region": "" })),
            (&[("level", "3"), ("on", "true"), ("a", "[1]")], json!({ "level": "3", "on": "true", "a": "[1]" })),
            (&[("region", "eu"), ("region", "us")], json!({ "region": ["eu", "us"] })),
            (
                &[("groups", "A"), ("tenants", "t"), ("scp", "s")],
                json!({ "groups": ["A"], "tenants": ["t"], "scp": ["s"] }),
            ),
            (&[("level:", "3"), ("a:", r#"{"b":[null]}"#)], json!({ "level": 3, "a": { "b": [null] } })),
            (&[("groups:", r#""A""#)], json!({ "groups": "A" })),
            (&[("https://example.com/roles", "r")], json!({ "https://example.com/roles": "r" })),
            (&[("uid", "00u1"), ("sub", "ada")], json!({ "uid": "00u1", "sub": "ada" })),
        ] {
            assert_eq!(read(fields), Ok(expected), "{fields:?}");
        }
    }

    #[test]
    fn what_a_field_cannot_mean_is_said() {
        for (fields, expected) in [
            (&[("", "x")][..], "a field has no name; expected NAME=TEXT or NAME:=JSON"),
            (&[(":", "1")], "a field has no name; expected NAME=TEXT or NAME:=JSON"),
            (&[("exp", "1")], "the claim exp cannot be set in this way; leave it out"),
            (&[("exp:", "1")], "the claim exp cannot be set in this way; leave it out"),
            (
                &[("a:", "eu")],
                "the value of a:= is not JSON (expected value at line 1 column 1); for a text write a=TEXT",
            ),
            (&[("a:", "1"), ("a:", "2")], "a:= is there twice; for a list write a:=[1,2]"),
            (&[("a:", "1"), ("a", "2")], "the claim a is there as a= and as a:=; expected one of them"),
            (&[("uid", "a"), ("uid", "b")], "uid is there 2 times; expected it once"),
        ] {
            assert_eq!(read(fields), Err(expected.to_owned()), "{fields:?}");
        }
    }
}
