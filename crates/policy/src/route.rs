//! The language of `routes`: `METHOD /path`, with captures in the path and `*` as the last segment.

use crate::{
    document::MAX_RESOURCE,
    pattern::{PatternError, Piece, pieces},
};

/// The methods of an API Gateway REST API. `ANY` becomes all of these, because a `*` in place of
/// the method would match `/` too, and so other paths.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A route of the rules file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    methods: Vec<&'static str>,
    /// Starts with `/`. If there is a `*`, it is the last character.
    path: Vec<Piece>,
}

/// What is wrong with a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    #[error("is not `METHOD /path`")]
    NotMethodAndPath,
    #[error("has the method `{0}`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY")]
    Method(String),
    #[error("{0}")]
    Pattern(#[from] PatternError),
    #[error("has an empty segment, `.`, `..` or a `/` at the end of its path")]
    Segment,
    #[error("has a `*` that is not the whole last segment")]
    Wildcard,
    #[error("has `{0}` in its path; expected letters, digits and - . _ ~ @ + = , : ! & ' ( ) ; or %XX")]
    Character(char),
}

impl Route {
    pub(super) fn parse(text: &str) -> Result<Self, RouteError> {
        let (method, path) = text.split_once(' ').ok_or(RouteError::NotMethodAndPath)?;
        let methods: Vec<_> = METHODS.into_iter().filter(|one| method == "ANY" || method == *one).collect();
        if methods.is_empty() {
            return Err(RouteError::Method(method.to_owned()));
        }
        let segments = path.strip_prefix('/').ok_or(RouteError::NotMethodAndPath)?;
        if !segments.is_empty() && segments.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(RouteError::Segment);
        }
        let without_last_star = match segments.strip_suffix('*') {
            Some(before) if before.is_empty() || before.ends_with('/') => before,
            _ => segments,
        };
        let path = pieces(path)?;
        if without_last_star.contains('*') {
            return Err(RouteError::Wildcard);
        }
        for piece in &path {
            if let Piece::Literal(text) = piece {
                check_characters(text)?;
            }
        }
        Ok(Self { methods, path })
    }

    /// The captures' names, in order.
    pub(super) fn captures(&self) -> impl Iterator<Item = &str> {
        self.path.iter().filter_map(|piece| match piece {
            Piece::Capture(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }

    /// The methods, in alphabetical order.
    pub(super) fn methods(&self) -> &[&'static str] {
        &self.methods
    }

    /// How many literal texts and captures the path has.
    pub(super) fn piece_count(&self) -> usize {
        self.path.len()
    }

    /// Writes the path with the captures' values over `path`, but no more than [`MAX_RESOURCE`]
    /// bytes of it, because its resource is too long then. Returns `false` if `value` returns
    /// `None` for a capture.
    pub(super) fn write_path<'v>(&self, path: &mut String, value: impl Fn(&str) -> Option<&'v str>) -> bool {
        path.clear();
        for piece in &self.path {
            let text = match piece {
                Piece::Literal(text) => text,
                Piece::Capture(name) => match value(name) {
                    Some(text) => text,
                    None => return false,
                },
            };
            // All of it is ASCII.
            if let Some(start) = text.get(..MAX_RESOURCE - path.len()) {
                path.push_str(start);
                break;
            }
            path.push_str(text);
        }
        true
    }

    /// `{METHOD}/{path}` for each method; none if `value` returns `None` for a capture.
    pub(super) fn resources<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> impl Iterator<Item = String> {
        let mut path = String::new();
        let is_whole = self.write_path(&mut path, value);
        self.methods.iter().filter(move |_| is_whole).map(move |method| [method, path.as_str()].concat())
    }
}

/// Allows `pchar` of RFC 3986 §3.3 without `$`, which IAM reads as the start of a variable. `%`
/// must be followed by two hex digits.
fn check_characters(text: &str) -> Result<(), RouteError> {
    let mut characters = text.chars();
    let is_hex = |character: Option<char>| character.is_some_and(|c| c.is_ascii_hexdigit());
    while let Some(character) = characters.next() {
        let is_allowed = match character {
            '%' => is_hex(characters.next()) && is_hex(characters.next()),
            other => other.is_ascii_alphanumeric() || "/*-._~@+=,:!&'();".contains(other),
        };
        if !is_allowed {
            return Err(RouteError::Character(character));
        }
    }
    Ok(())
}

/// What [`is_route_safe`] accepts, in words.
pub(super) const ROUTE_SAFE: &str = "1 to 128 characters of A-Z a-z 0-9 - . _ ~ @ + = , : ! and neither . nor ..";

/// Whether a captured value may be written into a route. It has no character that means more than
/// itself to IAM, in a URL or in a path.
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
    fn a_route_becomes_the_end_of_a_method_arn() {
        assert_eq!(resources("GET /"), ["GET/"]);
        assert_eq!(resources("GET /*"), ["GET/*"]);
        assert_eq!(resources("PUT /a/{id}/b-{id}.xml"), ["PUT/a/7/b-7.xml"]);
        assert_eq!(resources("GET /a%20b/*"), ["GET/a%20b/*"]);
    }

    #[test]
    fn a_route_knows_its_size() {
        let route = Route::parse("ANY /a/{x}/b{y}").unwrap();
        assert_eq!((route.piece_count(), route.methods().len()), (4, 7));
    }

    #[test]
    fn any_becomes_all_seven_methods() {
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
    fn a_path_is_not_written_beyond_the_longest_resource() {
        let long = "x".repeat(400);
        let path = |route: &str| {
            let mut path = "before".to_owned();
            assert!(Route::parse(route).unwrap().write_path(&mut path, |_| Some(&long)));
            path
        };
        assert_eq!(path("GET /{a}"), format!("/{long}"));
        assert_eq!(path(&format!("GET /{{a}}{}", "y".repeat(110))), format!("/{long}{}", "y".repeat(110)));
        for end in ["y".repeat(111), "y".repeat(112), "y".repeat(2_000)] {
            assert_eq!(path(&format!("GET /{{a}}{end}{{b}}")), format!("/{long}{}", "y".repeat(111)));
        }
        assert_eq!(path("GET /{a}/{b}/{c}"), format!("/{long}/{}", "x".repeat(110)));
    }

    #[test]
    fn an_error_says_what_is_wrong_with_a_route() {
        for (route, error) in [
            ("", RouteError::NotMethodAndPath),
            ("GET", RouteError::NotMethodAndPath),
            ("GET a", RouteError::NotMethodAndPath),
            ("GET  /a", RouteError::NotMethodAndPath),
            ("/a", RouteError::NotMethodAndPath),
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
            ("GET *", RouteError::NotMethodAndPath),
            ("GET,POST /a", RouteError::Method("GET,POST".to_owned())),
            ("GET /a/*b", RouteError::Wildcard),
            ("GET /a/*/b", RouteError::Wildcard),
            ("GET /id}", RouteError::Pattern(PatternError::StrayBrace)),
            ("GET /{}", RouteError::Pattern(PatternError::BadName(String::new()))),
            ("GET /${aws:username}", RouteError::Pattern(PatternError::BadName("aws:username".to_owned()))),
            ("GET /{id", RouteError::Pattern(PatternError::StrayBrace)),
            ("GET /{ID}", RouteError::Pattern(PatternError::BadName("ID".to_owned()))),
        ] {
            assert_eq!(Route::parse(route), Err(error), "{route}");
        }
    }

    #[test]
    fn only_safe_values_go_into_a_route() {
        for good in "a Z 0 a.b ... ..a a.. - _ ~ @ + = , ! : ada@example.com 00u1-._~@+=,!".split(' ') {
            assert!(is_route_safe(good), "{good}");
        }
        assert!(
            is_route_safe(&"x".repeat(128)) && !is_route_safe(&"x".repeat(129)) && !is_route_safe(&"x".repeat(5000))
        );
        let visible = "* ** ? 00u* *:* $ ${aws:username} ${*} $default / a/b ../umbra .. . % %2e %2e%2e %2E%2E%2F \
                       %252e%252e%252f %2a \" a\"b ' \\ a\\b a;b a#b a&b <a> [a] {a} {uid} a|b a^b a`b (a) # é a\u{301} \
                       ａ ＊ \u{202e}a a\u{200b} 💥";
        let blank = ["", " ", "a b", " a", "a ", "\t", "a\nb", "a\r\nb", "a\0b", "a\u{a0}b"];
        for bad in visible.split(' ').chain(blank) {
            assert!(!is_route_safe(bad), "{bad:?}");
        }
    }
}
