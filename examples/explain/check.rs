//! What is wrong with a rules file, shown where it stands.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use okta_authorizer::policy::RulesError;

/// The error as a compiler shows it.
pub fn pointed(file: &str, toml: &str, error: &RulesError) -> String {
    let place = AnnotationKind::Primary.span(error.span.clone());
    let report: &[Group<'_>] = &[Level::ERROR
        .primary_title(error.reason.as_str())
        .element(Snippet::source(toml).path(file).annotation(place))];
    Renderer::plain().render(report)
}
