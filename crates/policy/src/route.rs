//! The language of `routes`: `METHOD /path`, with captures in the path and `*` as a whole segment.

use std::borrow::Cow;

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
    /// Starts with `/`. Each `*` in it is a whole segment.
    path: Vec<RoutePiece>,
}

/// One piece of a route's path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RoutePiece {
    /// Text that stands for itself, with the wildcards.
    Literal(String),
    /// The value of this capture of the rule.
    Capture(usize),
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
    #[error("has an empty segment; write one `/` between two segments")]
    EmptySegment,
    #[error("has the segment `{0}`; clients and servers remove it, so write the path without it")]
    DotSegment(String),
    #[error("has a `*` that is only a part of a segment; a `*` is a whole segment, such as `/files/*`")]
    Wildcard,
    #[error("has `{{{0}+}}`, as API Gateway writes it; write `*`")]
    Proxy(String),
    #[error("has `{0}` in its path; expected letters, digits and - . _ ~ @ + = , : ! & ' ( ) ; or %XX")]
    Character(char),
    #[error("uses `{{{0}}}`, which no pattern in `when` captures")]
    UnknownCapture(String),
    #[error("starts with the rule's stage; a path has no stage, so write `{0}`")]
    Stage(String),
}

impl Route {
    /// Parses a route of a rule with these captures and stages.
    pub(super) fn parse(text: &str, captures: &[&str], stages: &[String]) -> Result<Self, RouteError> {
        let (method, path) = text.split_once(' ').ok_or(RouteError::NotMethodAndPath)?;
        let methods: Vec<_> = METHODS.into_iter().filter(|one| method == "ANY" || method == *one).collect();
        if methods.is_empty() {
            return Err(RouteError::Method(method.to_owned()));
        }
        let segments = path.strip_prefix('/').ok_or(RouteError::NotMethodAndPath)?;
        check_segments(segments)?;
        let first = segments.split('/').next().unwrap_or_default();
        if stages.iter().any(|stage| stage == first) {
            let rest = segments.strip_prefix(first).unwrap_or_default();
            return Err(RouteError::Stage(format!("{method} {}", if rest.is_empty() { "/" } else { rest })));
        }
        let path = pieces(path)?.into_iter().map(|piece| match piece {
            Piece::Literal(text) => check_characters(&text).map(|()| RoutePiece::Literal(text)),
            Piece::Capture(name) => match captures.iter().position(|capture| *capture == name) {
                Some(index) => Ok(RoutePiece::Capture(index)),
                None => Err(RouteError::UnknownCapture(name)),
            },
        });
        Ok(Self { methods, path: path.collect::<Result<_, _>>()? })
    }

    /// The names of the captures in the path of a route, in order, if the route can be parsed.
    pub(super) fn captures(text: &str) -> Vec<String> {
        let path = text.split_once(' ').map_or("", |(_, path)| path);
        let capture = |piece| match piece {
            Piece::Capture(name) => Some(name),
            Piece::Literal(_) => None,
        };
        pieces(path).unwrap_or_default().into_iter().filter_map(capture).collect()
    }

    /// The same route with a slash at its end, or without it. `None` if there is no such route, or
    /// if this one covers it.
    pub(super) fn other_end(&self) -> Option<Self> {
        let mut other = self.clone();
        match other.path.last_mut()? {
            RoutePiece::Literal(text) if text.ends_with('*') => return None,
            RoutePiece::Literal(text) if text.ends_with('/') => {
                text.pop();
                if text.is_empty() {
                    other.path.pop();
                }
            }
            RoutePiece::Literal(text) => text.push('/'),
            RoutePiece::Capture(_) => other.path.push(RoutePiece::Literal("/".to_owned())),
        }
        (!other.path.is_empty()).then_some(other)
    }

    /// The methods, in alphabetical order.
    pub(super) fn methods(&self) -> &[&'static str] {
        &self.methods
    }

    /// How many literal texts and captures the path has.
    pub(super) fn piece_count(&self) -> usize {
        self.path.len()
    }

    /// How many paths the route has with these values.
    pub(super) fn path_count<'v>(&self, value: impl Fn(usize) -> &'v str) -> usize {
        let count = |piece: &RoutePiece| match piece {
            RoutePiece::Literal(_) => 1,
            RoutePiece::Capture(index) => Spelling::all(value(*index)).len(),
        };
        self.path.iter().map(count).fold(1, usize::saturating_mul)
    }

    /// Writes path number `number` over `path`, but no more than [`MAX_RESOURCE`] bytes of it,
    /// because its resource is too long then. The numbers start at 0, and path 0 has each value as
    /// it is, if it can be written so.
    pub(super) fn write_path<'v>(&self, path: &mut String, mut number: usize, value: impl Fn(usize) -> &'v str) {
        path.clear();
        for piece in &self.path {
            let text = match piece {
                RoutePiece::Literal(text) => Cow::Borrowed(text.as_str()),
                RoutePiece::Capture(index) => {
                    let spellings = Spelling::all(value(*index));
                    let chosen = spellings.get(number % spellings.len()).copied().unwrap_or(Spelling::Encoded);
                    number /= spellings.len();
                    match chosen {
                        Spelling::AsItIs => Cow::Borrowed(value(*index)),
                        Spelling::Encoded => encode_uri_component(value(*index)).into(),
                    }
                }
            };
            // All of it is ASCII.
            if let Some(start) = text.get(..MAX_RESOURCE - path.len()) {
                path.push_str(start);
                break;
            }
            path.push_str(&text);
        }
    }
}

fn check_segments(segments: &str) -> Result<(), RouteError> {
    // The path `/` has no segment. A `/` at the end is not a segment.
    let whole = segments.strip_suffix('/').unwrap_or(segments);
    if segments.is_empty() {
        return Ok(());
    }
    for segment in whole.split('/') {
        match segment {
            "" => return Err(RouteError::EmptySegment),
            "." | ".." => return Err(RouteError::DotSegment(segment.to_owned())),
            "*" => {}
            other if other.contains('*') => return Err(RouteError::Wildcard),
            other => {
                if let Some((name, _)) = other.split_once('{').and_then(|(_, rest)| rest.split_once("+}")) {
                    return Err(RouteError::Proxy(name.to_owned()));
                }
            }
        }
    }
    Ok(())
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

/// What [`is_usable`] accepts, in words.
pub(super) const USABLE: &str =
    "1 to 128 characters of A-Z a-z 0-9 - . _ ~ @ + = , : ! & ' ( ) and single spaces inside, and neither . nor ..";

/// Whether a captured value may be written into a route. It has no character that means more than
/// itself to IAM, in a URL or in a path.
pub(super) fn is_usable(value: &str) -> bool {
    (1..=128).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~@+=,:!&'() ".contains(&byte))
        && !value.starts_with(' ')
        && !value.ends_with(' ')
        && !value.contains("  ")
        && value != "."
        && value != ".."
}

/// How a client writes a value into a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    AsItIs,
    /// As `encodeURIComponent` of ECMAScript writes it.
    Encoded,
}

impl Spelling {
    /// The distinct spellings of a value that is usable.
    fn all(value: &str) -> &'static [Self] {
        if has_one_spelling(value) {
            &[Self::AsItIs]
        } else if value.contains(' ') {
            // No path has a space (RFC 3986 §3.3).
            &[Self::Encoded]
        } else {
            &[Self::AsItIs, Self::Encoded]
        }
    }
}

fn encode_uri_component(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if is_never_encoded(byte) {
            encoded.push(char::from(byte));
        } else {
            let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default().to_ascii_uppercase();
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

/// Source: ECMAScript, "encodeURIComponent".
fn is_never_encoded(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte)
}

/// Whether a usable value has only one spelling, the value itself.
pub(super) fn has_one_spelling(value: &str) -> bool {
    value.bytes().all(is_never_encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Route, RouteError> {
        Route::parse(text, &["id", "x"], &["prod".to_owned(), "v1".to_owned()])
    }

    fn paths(route: &str, values: [&str; 2]) -> Vec<String> {
        let route = parse(route).unwrap();
        let value = |index: usize| values[index];
        let path = |number| {
            let mut path = "before".to_owned();
            route.write_path(&mut path, number, value);
            path
        };
        (0..route.path_count(value)).map(path).collect()
    }

    #[test]
    fn a_route_becomes_the_end_of_a_method_arn() {
        for (route, path) in [
            ("GET /", "/"),
            ("GET /*", "/*"),
            ("PUT /a/{id}/b-{id}.xml", "/a/7/b-7.xml"),
            ("GET /a%20b/*", "/a%20b/*"),
            ("GET /{x}/*/{id}/*/c/", "/8/*/7/*/c/"),
            ("GET /produce/v1", "/produce/v1"),
        ] {
            assert_eq!(paths(route, ["7", "8"]), [path], "{route}");
        }
    }

    #[test]
    fn a_path_has_each_spelling_of_each_capture() {
        assert_eq!(paths("GET /{id}/{x}", ["a@b", "c"]), ["/a@b/c", "/a%40b/c"]);
        assert_eq!(paths("GET /{id}/{x}", ["a b", "c"]), ["/a%20b/c"]);
        let four = ["/1:2/3:4", "/1%3A2/3:4", "/1:2/3%3A4", "/1%3A2/3%3A4"];
        assert_eq!(paths("GET /{id}/{x}", ["1:2", "3:4"]), four);
    }

    #[test]
    fn a_value_is_encoded_as_browsers_do() {
        let all = "-._~@+=,:!&'() ";
        assert_eq!(encode_uri_component(all), "-._~%40%2B%3D%2C%3A!%26'()%20");
        assert_eq!(encode_uri_component("\u{7f}/"), "%7F%2F");
        for (value, spellings) in [
            ("aZ09-._~!'()", [Spelling::AsItIs].as_slice()),
            ("a@b", &[Spelling::AsItIs, Spelling::Encoded]),
            ("a b", &[Spelling::Encoded]),
            ("a b@", &[Spelling::Encoded]),
        ] {
            assert_eq!(Spelling::all(value), spellings, "{value}");
        }
    }

    #[test]
    fn a_route_knows_its_size() {
        let route = parse("ANY /a/{x}/b{id}").unwrap();
        assert_eq!((route.piece_count(), route.methods().len()), (4, 7));
        assert_eq!(route.methods(), ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]);
        assert_eq!(Route::captures("ANY /a/{x}/b{id}/{x}"), ["x", "id", "x"]);
        assert!(Route::captures("ANY").is_empty() && Route::captures("GET /{").is_empty());
    }

    #[test]
    fn the_other_end_has_a_slash_or_has_none() {
        for (route, other) in [
            ("GET /a", Some("GET /a/")),
            ("GET /a/{id}", Some("GET /a/{id}/")),
            ("GET /a/*/b", Some("GET /a/*/b/")),
            ("GET /{id}/", Some("GET /{id}")),
            ("GET /a/", Some("GET /a")),
            ("GET /", None),
            ("GET /a/*", None),
            ("GET /*", None),
        ] {
            assert_eq!(parse(route).unwrap().other_end(), other.map(|other| parse(other).unwrap()), "{route}");
        }
    }

    #[test]
    fn a_path_is_not_written_beyond_the_longest_resource() {
        let long = "x".repeat(400);
        let path = |route: &str| paths(route, [&long, &long]).remove(0);
        assert_eq!(path("GET /{id}"), format!("/{long}"));
        assert_eq!(path(&format!("GET /{{id}}{}", "y".repeat(110))), format!("/{long}{}", "y".repeat(110)));
        for end in ["y".repeat(111), "y".repeat(112), "y".repeat(2_000)] {
            assert_eq!(path(&format!("GET /{{id}}{end}{{x}}")), format!("/{long}{}", "y".repeat(111)));
        }
        assert_eq!(path("GET /{id}/{x}/{id}"), format!("/{long}/{}", "x".repeat(110)));
    }

    #[test]
    fn an_error_says_what_is_wrong_with_a_route() {
        let dots = |segment: &str| RouteError::DotSegment(segment.to_owned());
        let method = |method: &str| RouteError::Method(method.to_owned());
        let stage = |route: &str| RouteError::Stage(route.to_owned());
        let name = |name: &str| RouteError::Pattern(PatternError::BadName(name.to_owned()));
        for (route, error) in [
            ("", RouteError::NotMethodAndPath),
            ("GET", RouteError::NotMethodAndPath),
            ("GET a", RouteError::NotMethodAndPath),
            ("GET  /a", RouteError::NotMethodAndPath),
            ("GET *", RouteError::NotMethodAndPath),
            ("/a", RouteError::NotMethodAndPath),
            ("* /a", method("*")),
            ("get /a", method("get")),
            ("TRACE /a", method("TRACE")),
            (" /a", method("")),
            ("GET,POST /a", method("GET,POST")),
            ("GET /a//b", RouteError::EmptySegment),
            ("GET //", RouteError::EmptySegment),
            ("GET //a", RouteError::EmptySegment),
            ("GET /a//", RouteError::EmptySegment),
            ("GET /../a", dots("..")),
            ("GET /a/.", dots(".")),
            ("GET /a/../", dots("..")),
            ("GET /a*", RouteError::Wildcard),
            ("GET /**", RouteError::Wildcard),
            ("GET /{id}*", RouteError::Wildcard),
            ("GET /a/*b", RouteError::Wildcard),
            ("GET /a*/b", RouteError::Wildcard),
            ("GET /{proxy+}", RouteError::Proxy("proxy".to_owned())),
            ("GET /a/{rest+}/b", RouteError::Proxy("rest".to_owned())),
            ("GET /prod/orders", stage("GET /orders")),
            ("GET /v1/*", stage("GET /*")),
            ("ANY /prod", stage("ANY /")),
            ("GET /a?", RouteError::Character('?')),
            ("GET /a b", RouteError::Character(' ')),
            ("GET /$a", RouteError::Character('$')),
            ("GET /%2", RouteError::Character('%')),
            ("GET /é", RouteError::Character('é')),
            ("GET /id}", RouteError::Pattern(PatternError::StrayBrace)),
            ("GET /{id", RouteError::Pattern(PatternError::StrayBrace)),
            ("GET /{}", name("")),
            ("GET /${aws:username}", name("aws:username")),
            ("GET /{other}", RouteError::UnknownCapture("other".to_owned())),
            ("GET /{ID}", RouteError::UnknownCapture("ID".to_owned())),
        ] {
            assert_eq!(parse(route), Err(error), "{route}");
        }
    }

    #[test]
    fn only_usable_values_go_into_a_route() {
        for good in "a Z 0 a.b ... ..a a.. - _ ~ @ + = , ! : & ' ( ) ada@example.com 00u1-._~@+=,! a&b (a)".split(' ') {
            assert!(is_usable(good), "{good}");
        }
        assert!(is_usable("Smith & Sons (UK)") && is_usable(". .") && is_usable("a b c"));
        assert!(is_usable(&"x".repeat(128)) && !is_usable(&"x".repeat(129)) && !is_usable(&"x".repeat(5000)));
        let visible = "* ** ? 00u* *:* $ ${aws:username} ${*} $default / a/b ../umbra .. . % %2e %2e%2e %2E%2E%2F \
                       %252e%252e%252f %2a \" a\"b \\ a\\b a;b ; a#b <a> [a] {a} {uid} a|b a^b a`b # é a\u{301} \
                       ａ ＊ \u{202e}a a\u{200b} 💥";
        let blank = ["", " ", "a  b", " a", "a ", "\t", "a\nb", "a\r\nb", "a\0b", "a\u{a0}b"];
        for bad in visible.split(' ').chain(blank) {
            assert!(!is_usable(bad), "{bad:?}");
        }
    }
}
