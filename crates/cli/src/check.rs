//! Reads a rules file, and shows the places of all mistakes in it.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use okta_authorizer_policy::{Rules, RulesError};

use crate::read_file;

/// The rules of a file, and its text. The error is ready to be printed.
pub fn load(file: &Path) -> Result<(Rules, String), String> {
    let toml = read_file(file)?;
    Ok((parse(&file.to_string_lossy(), &toml)?, toml))
}

/// The rules, or all mistakes as a compiler shows them.
fn parse(file: &str, toml: &str) -> Result<Rules, String> {
    Rules::parse(toml).map_err(|errors| {
        let mistakes: Vec<_> = errors.0.iter().map(|error| annotated(file, toml, error)).collect();
        mistakes.join("\n\n")
    })
}

/// The error with the lines of the file that it is about.
fn annotated(file: &str, toml: &str, error: &RulesError) -> String {
    let place = AnnotationKind::Primary.span(error.span.clone());
    let report: &[Group<'_>] = &[Level::ERROR
        .primary_title(error.reason.as_str())
        .element(Snippet::source(toml).path(file).annotation(place))];
    Renderer::plain().render(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_the_rules_is_shown_at_its_place() {
        let toml = "[[allow]]\nroutes = [\n  \"GET /a\",\n  \"FETCH /b\",\n]\n";
        assert_eq!(
            parse("policy.toml", toml).unwrap_err(),
            "error: the route `FETCH /b` has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY
 --> policy.toml:4:3
  |
4 |   \"FETCH /b\",
  |   ^^^^^^^^^^"
        );
    }

    #[test]
    fn all_mistakes_are_shown_in_the_order_of_the_file() {
        let toml = "[[deny]]\nroutes = [\"GET /{x}\"]\n\n[[allow]]\nroute = []\nroutes = [\"FETCH /a\"]\n";
        assert_eq!(
            parse("policy.toml", toml).unwrap_err(),
            "error: the route `GET /{x}` uses `{x}`, which no pattern in `when` captures; for any value write `*`, or capture it, such as uid = \"{x}\"
 --> policy.toml:2:11
  |
2 | routes = [\"GET /{x}\"]
  |           ^^^^^^^^^^

error: unknown key `route`; a rule has `routes`, `when`, `stage`, `api`, `name`
 --> policy.toml:5:1
  |
5 | route = []
  | ^^^^^

error: the route `FETCH /a` has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY
 --> policy.toml:6:11
  |
6 | routes = [\"FETCH /a\"]
  |           ^^^^^^^^^^"
        );
    }
}
