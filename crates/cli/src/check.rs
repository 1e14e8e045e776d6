//! Reads a rules file, and shows the place of a mistake in it.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use okta_authorizer_policy::{Rules, RulesError};

use crate::read_file;

/// The rules of a file, and its text. The error is ready to be printed.
pub fn load(file: &Path) -> Result<(Rules, String), String> {
    let toml = read_file(file)?;
    match Rules::parse(&toml) {
        Ok(rules) => Ok((rules, toml)),
        Err(error) => Err(annotated(&file.to_string_lossy(), &toml, &error)),
    }
}

/// The error with the lines of the file that it is about, as a compiler shows it.
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
        let error = Rules::parse(toml).unwrap_err();
        assert_eq!(
            annotated("policy.toml", toml, &error),
            "error: the route `FETCH /b` has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY
 --> policy.toml:4:3
  |
4 |   \"FETCH /b\",
  |   ^^^^^^^^^^"
        );
    }
}
