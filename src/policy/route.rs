//! The language of `routes`: `METHOD /path`, captures in the path, `*` as the whole last segment.

use super::pattern::{PatternError, Piece, pieces};

/// The methods of an API Gateway REST API. `ANY` is written out as these: a `*` in the method's place of an ARN would
/// match across `/` into other paths.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A route template of the rules file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    methods: Vec<&'static str>,
    /// Starts with `/`; a `*` stands at its very end or nowhere.
    path: Vec<Piece>,
}

/// What is wrong with a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    #[error("is not `METHOD /path`")]
    Shape,
    #[error("has the method `{0}`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY")]
    Method(String),
    #[error("{0}")]
    Pattern(#[from] PatternError),
    #[error("has an empty segment, `.` or `..` in its path, which no request reaches")]
    Segment,
    #[error("has a `*` that is not the whole last segment")]
    Wildcard,
    #[error("has `{0}` in its path; expected letters, digits and - . _ ~ @ + = , : ! & ' ( ) ; or %XX")]
    Character(char),
}

impl Route {
    pub(super) fn parse(text: &str) -> Result<Self, RouteError> {
        let (method, path) = text.split_once(' ').ok_or(RouteError::Shape)?;
        let methods: Vec<_> = METHODS.into_iter().filter(|known| method == "ANY" || method == *known).collect();
        if methods.is_empty() {
            return Err(RouteError::Method(method.to_owned()));
        }
        let segments = path.strip_prefix('/').ok_or(RouteError::Shape)?;
        if !segments.is_empty() && segments.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(RouteError::Segment);
        }
        let fixed = match segments.strip_suffix('*') {
            Some(before) if before.is_empty() || before.ends_with('/') => before,
            _ => segments,
        };
        let path = pieces(path)?;
        if fixed.contains('*') {
            return Err(RouteError::Wildcard);
        }
        for piece in &path {
            if let Piece::Text(text) = piece {
                check_characters(text)?;
            }
        }
        Ok(Self { methods, path })
    }

    /// The captures' names, in order.
    pub(super) fn captures(&self) -> impl Iterator<Item = &str> {
        self.path.iter().filter_map(|piece| match piece {
            Piece::Capture(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// `{METHOD}/{path}` for each method, as the tail of a method ARN. `value` gives a capture's value;
    /// where it has none, neither has the route.
    pub(super) fn resources<'v>(
        &'v self,
        value: impl Fn(&str) -> Option<&'v str> + Copy,
    ) -> impl Iterator<Item = String> {
        let text = move |piece: &'v Piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Capture(name) => value(name),
        };
        let length: Option<usize> = self.path.iter().map(|piece| text(piece).map(str::len)).sum();
        length.into_iter().flat_map(move |length| {
            self.methods.iter().map(move |method| {
                // Of the right size at once: an admin has a thousand of these.
                let mut resource = String::with_capacity(method.len() + length);
                resource.push_str(method);
                resource.extend(self.path.iter().filter_map(text));
                resource
            })
        })
    }
}

/// RFC 3986 §3.3 `pchar` less `$`, which IAM reads as the start of a variable; `%` only before two hex digits.
fn check_characters(text: &str) -> Result<(), RouteError> {
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let good = match character {
            '%' => {
                rest.next().is_some_and(|c| c.is_ascii_hexdigit()) && rest.next().is_some_and(|c| c.is_ascii_hexdigit())
            }
            other => other.is_ascii_alphanumeric() || "/*-._~@+=,:!&'();".contains(other),
        };
        if !good {
            return Err(RouteError::Character(character));
        }
    }
    Ok(())
}

/// Whether a captured value may go into a route: nothing that IAM, a URL or a path treats as more than text.
pub(super) fn is_route_safe(value: &str) -> bool {
    (1..=128).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~@+=,:!".contains(&byte))
        && value != "."
        && value != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(route: &str) -> Vec<String> {
        let value = |name: &str| (name == "id").then_some("7");
        Route::parse(route).unwrap().resources(value).collect()
    }

    #[test]
    fn a_route_is_the_tail_of_a_method_arn() {
        assert_eq!(resources("GET /"), ["GET/"]);
        assert_eq!(resources("GET /*"), ["GET/*"]);
        assert_eq!(resources("PUT /a/{id}/b-{id}.xml"), ["PUT/a/7/b-7.xml"]);
        assert_eq!(resources("GET /a%20b/*"), ["GET/a%20b/*"]);
    }

    #[test]
    fn any_is_written_out() {
        assert_eq!(
            resources("ANY /a/*"),
            ["DELETE/a/*", "GET/a/*", "HEAD/a/*", "OPTIONS/a/*", "PATCH/a/*", "POST/a/*", "PUT/a/*"]
        );
    }

    #[test]
    fn a_capture_without_a_value_grants_nothing() {
        assert_eq!(Route::parse("GET /{other}").unwrap().resources(|_| None).next(), None);
    }

    #[test]
    fn says_what_is_wrong_with_a_route() {
        for (route, error) in [
            ("", RouteError::Shape),
            ("GET", RouteError::Shape),
            ("GET a", RouteError::Shape),
            ("GET  /a", RouteError::Shape),
            ("/a", RouteError::Shape),
            ("* /a", RouteError::Method("*".to_owned())),
            ("get /a", RouteError::Method("get".to_owned())),
            ("TRACE /a", RouteError::Method("TRACE".to_owned())),
            (" /a", RouteError::Method(String::new())),
            ("GET /a//b", RouteError::Segment),
            ("GET /a/", RouteError::Segment),
            ("GET //", RouteError::Segment),
            ("GET /../a", RouteError::Segment),
            ("GET /a/.", RouteError::Segment),
            ("GET /*/a", RouteError::Wildcard),
            ("GET /a*", RouteError::Wildcard),
            ("GET /**", RouteError::Wildcard),
            ("GET /{id}*", RouteError::Wildcard),
            ("GET /a?", RouteError::Character('?')),
            ("GET /a b", RouteError::Character(' ')),
            ("GET /$a", RouteError::Character('$')),
            ("GET /%2", RouteError::Character('%')),
            ("GET /é", RouteError::Character('é')),
            ("GET /{id", RouteError::Pattern(PatternError::StrayBrace)),
            ("GET /{ID}", RouteError::Pattern(PatternError::BadName("ID".to_owned()))),
        ] {
            assert_eq!(Route::parse(route), Err(error), "{route}");
        }
    }

    #[test]
    fn only_plain_text_goes_into_a_route() {
        for good in ["a", "A-Z.0_~@+=,:!", "...", "..a", &"x".repeat(128)] {
            assert!(is_route_safe(good), "{good}");
        }
        let too_long = "x".repeat(129);
        for bad in ["", ".", "..", "*", "?", "$", "${a}", "a/b", "%2e", "a b", "a\n", "é", "\\", "\"", "#", &too_long]
        {
            assert!(!is_route_safe(bad), "{bad:?}");
        }
    }
}
