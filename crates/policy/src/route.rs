//! The language of `routes`: `METHOD /path`, with captures in the path and `*` as a whole segment.

use crate::{
    document::MAX_RESOURCE,
    path_guard::PathGuard,
    pattern::{PatternError, Piece, pieces},
};

/// The methods of an API Gateway REST API. `ANY` becomes all of these, because a `*` in place of
/// the method would match `/` too, and so other paths.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The most captures of one route. Each can double the number of its spellings.
const MAX_CAPTURES: usize = 10;

/// A route of the rules file, with one method: a route with `ANY` is seven.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `{METHOD}/{path}`. The first piece is a literal. Each `*` is a whole segment.
    pieces: Vec<RoutePiece>,
    /// The path guard that a policy with the route needs.
    guard: Option<PathGuard>,
    /// Which string of the rule's `routes` it is of.
    written: usize,
}

/// One piece of a route's path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoutePiece {
    /// Text that stands for itself, with the wildcards.
    Literal(String),
    /// The value of this capture of the rule.
    Capture(usize),
}

/// What is wrong with a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    #[error("has no method; write a method, one space and the path, such as `GET /orders`")]
    NoMethod,
    #[error(
        "has more white space than the one space after the method; write one route in each string, and %20 for a space in a path"
    )]
    WhiteSpace,
    #[error("has the white space U+{:04X}; write a normal space", u32::from(*.0))]
    OddSpace(char),
    #[error("has the path `{0}`, which does not start with `/`; write the path without scheme and host")]
    Url(String),
    #[error("has the path `{0}`, which does not start with `/`; write `/{0}`")]
    NoSlash(String),
    #[error("has the method `{0}`; {hint}", hint = instead_of_method(.0))]
    Method(String),
    #[error("is an ARN; a route is the method and the path only, so write `{0}`")]
    Arn(String),
    #[error("{0}")]
    Pattern(#[from] PatternError),
    #[error("has an empty segment; write one `/` between two segments")]
    EmptySegment,
    #[error("has the segment `{0}`; clients and servers remove it, so write the path without it")]
    DotSegment(String),
    #[error(
        "has a `*` that is only a part of a segment; a `*` is a whole segment, such as `/files/*`, and a part of one is a capture, such as `/files/{{name}}.pdf`"
    )]
    Wildcard,
    #[error("has `{{{0}+}}`, as API Gateway writes it; write `*`")]
    Proxy(String),
    #[error("has `{0}` in its path; {hint}", hint = instead_of_character(*.0))]
    Character(char),
    #[error(
        "uses `{{{0}}}`, which no pattern in `when` captures; for any value write `*`, or capture it, such as uid = \"{{{0}}}\""
    )]
    UnknownCapture(String),
    #[error("has the segment `{0}`; a capture is written `{{name}}`, and any segment is `*`")]
    Colon(String),
    #[error("has more than {MAX_CAPTURES} captures")]
    TooManyCaptures,
    #[error("has more than {MAX_RESOURCE} characters, and no resource of a policy has so many")]
    TooLong,
    #[error("starts with the rule's stage; a path has no stage, so write `{0}`")]
    Stage(String),
}

impl Route {
    /// Parses a route of a rule with these captures and stages. `written` says which string of the
    /// rule's `routes` it is.
    pub(super) fn parse(
        text: &str,
        captures: &[&str],
        stages: &[String],
        written: usize,
    ) -> Result<Vec<Self>, RouteError> {
        if let Some(route) = route_of_arn(text) {
            return Err(RouteError::Arn(route));
        }
        if let Some(odd) = text.chars().find(|character| character.is_whitespace() && *character != ' ') {
            return Err(RouteError::OddSpace(odd));
        }
        if text.bytes().filter(|byte| *byte == b' ').count() > 1 {
            return Err(RouteError::WhiteSpace);
        }
        let (method, path) = text.split_once(' ').ok_or(RouteError::NoMethod)?;
        let methods: Vec<_> = METHODS.into_iter().filter(|one| method == "ANY" || method == *one).collect();
        if methods.is_empty() {
            return Err(RouteError::Method(method.to_owned()));
        }
        let segments = path.strip_prefix('/').ok_or_else(|| {
            if path.contains("://") { RouteError::Url(path.to_owned()) } else { RouteError::NoSlash(path.to_owned()) }
        })?;
        check_segments(segments)?;
        let length_and_captures = |(length, captures), piece: &Piece| match piece {
            Piece::Literal(text) => (length + text.len(), captures),
            Piece::Capture(_) => (length, captures + 1),
        };
        let pieces = pieces(path)?;
        let (without_captures, capture_count) = pieces.iter().fold((0, 0), length_and_captures);
        if capture_count > MAX_CAPTURES {
            return Err(RouteError::TooManyCaptures);
        }
        if method.len() + without_captures > MAX_RESOURCE {
            return Err(RouteError::TooLong);
        }
        let first = segments.split('/').next().unwrap_or_default();
        if stages.iter().any(|stage| stage == first) {
            let rest = segments.strip_prefix(first).unwrap_or_default();
            return Err(RouteError::Stage(format!("{method} {}", if rest.is_empty() { "/" } else { rest })));
        }
        let path = pieces.into_iter().map(|piece| match piece {
            Piece::Literal(text) => check_characters(&text).map(|()| RoutePiece::Literal(text)),
            Piece::Capture(name) => match captures.iter().position(|capture| *capture == name) {
                Some(index) => Ok(RoutePiece::Capture(index)),
                None => Err(RouteError::UnknownCapture(name)),
            },
        });
        let path = path.collect::<Result<Vec<_>, _>>()?;
        let of_method = |method: &str| {
            let mut pieces = path.clone();
            if let Some(RoutePiece::Literal(start)) = pieces.first_mut() {
                start.insert_str(0, method);
            }
            Self { pieces, guard: PathGuard::of(segments), written }
        };
        Ok(methods.into_iter().map(of_method).collect())
    }

    /// `{METHOD}/{path}`. The first piece is a literal, and each `*` in a literal is a whole segment.
    #[must_use]
    pub fn pieces(&self) -> &[RoutePiece] {
        &self.pieces
    }

    /// Which string of the rule's `routes` it is of.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written
    }

    /// The same route with a slash at its end, or without it. `None` if there is no such route, or
    /// if this one covers it.
    pub(super) fn other_end(&self) -> Option<Self> {
        let mut other = self.clone();
        let is_only_piece = other.pieces.len() == 1;
        match other.pieces.last_mut()? {
            RoutePiece::Literal(text) if text.ends_with('*') => return None,
            RoutePiece::Literal(text) if text.ends_with('/') => {
                // The only slash of the path `/`.
                if is_only_piece && text.bytes().filter(|byte| *byte == b'/').count() == 1 {
                    return None;
                }
                text.pop();
                if text.is_empty() {
                    other.pieces.pop();
                }
            }
            RoutePiece::Literal(text) => text.push('/'),
            RoutePiece::Capture(_) => other.pieces.push(RoutePiece::Literal("/".to_owned())),
        }
        Some(other)
    }

    /// Whether the path has a capture.
    pub(super) fn has_capture(&self) -> bool {
        self.pieces.len() > 1
    }

    /// Whether both routes have the same text up to their first capture, and the same capture there.
    pub(super) fn starts_like(&self, other: &Self) -> bool {
        self.pieces.iter().take(2).eq(other.pieces.iter().take(2))
    }

    /// The path guard that a policy with the route needs. `None` if it has no `*`.
    pub(super) fn guard(&self) -> Option<PathGuard> {
        self.guard
    }

    /// How many literal texts and captures the route has.
    pub(super) fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// How many spellings the route has with these values.
    pub(super) fn spelling_count<'v>(&self, value: impl Fn(usize) -> &'v str) -> usize {
        let count = |piece: &RoutePiece| match piece {
            RoutePiece::Literal(_) => 1,
            RoutePiece::Capture(index) => Spelling::all(value(*index)).len(),
        };
        self.pieces.iter().map(count).fold(1, usize::saturating_mul)
    }

    /// Appends `{METHOD}/{path}` in spelling number `number`. The numbers start at 0. No more than
    /// [`MAX_RESOURCE`] bytes are written, because its resource is too long then.
    pub(super) fn write_spelling<'v>(&self, text: &mut String, mut number: usize, value: impl Fn(usize) -> &'v str) {
        let longest = text.len() + MAX_RESOURCE;
        for piece in &self.pieces {
            match piece {
                RoutePiece::Literal(literal) => text.push_str(literal),
                RoutePiece::Capture(index) => {
                    let spellings = Spelling::all(value(*index));
                    match spellings.get(number % spellings.len()) {
                        Some(Spelling::AsItIs) => text.push_str(value(*index)),
                        Some(Spelling::Encoded) | None => push_encoded(text, value(*index)),
                    }
                    number /= spellings.len();
                }
            }
        }
        // All of it is ASCII.
        text.truncate(longest);
    }

    /// The same for values with one spelling.
    pub(super) fn write<'v>(&self, text: &mut String, value: impl Fn(usize) -> &'v str) {
        let longest = text.len() + MAX_RESOURCE;
        for piece in &self.pieces {
            text.push_str(match piece {
                RoutePiece::Literal(literal) => literal,
                RoutePiece::Capture(index) => value(*index),
            });
        }
        text.truncate(longest);
    }
}

/// What to write instead of a method that there is not.
fn instead_of_method(method: &str) -> String {
    let upper = method.to_ascii_uppercase();
    match upper.as_str() {
        "ANY" | "ALL" | "*" => "for every method, write `ANY`".to_owned(),
        _ if METHODS.contains(&upper.as_str()) => format!("write it in capitals: `{upper}`"),
        _ if method.contains([',', '|', '/']) => "write a route for each method".to_owned(),
        _ => format!("expected one of {}, ANY", METHODS.join(", ")),
    }
}

/// What to write instead of a character that a path cannot have.
fn instead_of_character(character: char) -> String {
    match character {
        '?' => "a policy does not see the query string, so leave it out".to_owned(),
        '#' => "clients do not send what follows it, so leave it out".to_owned(),
        '<' | '>' => "a capture is written {name}, and any segment is *".to_owned(),
        '%' => "it is followed by two hex digits, and %25 is a `%`".to_owned(),
        _ if character.is_ascii() => "expected letters, digits and - . _ ~ @ + = , : ! & ' ( ) ; or %XX".to_owned(),
        _ => {
            let mut encoded = String::new();
            push_encoded(&mut encoded, character.encode_utf8(&mut [0; 4]));
            format!("write it as clients send it: {encoded}")
        }
    }
}

/// The route of a method's ARN, with or without a method before it. `None` if it is not an ARN.
fn route_of_arn(text: &str) -> Option<String> {
    let arn = text.split_once(' ').map_or(text, |(_, after)| after);
    let resource = arn.strip_prefix("arn:")?.splitn(5, ':').last()?;
    let mut parts = resource.splitn(4, '/').skip(2);
    let method = parts.next().filter(|method| *method != "*").unwrap_or("ANY");
    Some(format!("{method} /{}", parts.next().unwrap_or_default()))
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
            _ if is_dot_segment(segment) => return Err(RouteError::DotSegment(segment.to_owned())),
            "*" => {}
            _ if segment.strip_prefix(':').is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())) => {
                return Err(RouteError::Colon(segment.to_owned()));
            }
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

/// A dot segment, also with encoded dots (RFC 3986 §5.2.4 and §6.2.2.2).
fn is_dot_segment(segment: &str) -> bool {
    let after_dot = |text| [".", "%2e", "%2E"].into_iter().find_map(|dot| str::strip_prefix(text, dot));
    after_dot(segment).is_some_and(|rest| rest.is_empty() || after_dot(rest) == Some(""))
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
pub(super) const USABLE: &str = "1 to 128 characters of A-Z a-z 0-9 - . _ ~ @ + = , : ! & ' ( ) and single spaces inside, and no . or .. alone or before @ + = , : & and the space";

/// Whether a captured value may be written into a route. It has no character that means more than
/// itself to IAM, in a URL or in a path.
pub(super) fn is_usable(value: &str) -> bool {
    // A space at the start or the end is next to nothing, as the second of two is.
    let mut after_space = true;
    let all_good = value.bytes().all(|byte| {
        let is_space = byte == b' ';
        let is_good =
            if is_space { !after_space } else { byte.is_ascii_alphanumeric() || b"-._~@+=,:!&'()".contains(&byte) };
        after_space = is_space;
        is_good
    });
    // The encoded spelling of `..@x` is `..%40x`, which the path guard refuses.
    let after_dots = value.strip_prefix("..").or_else(|| value.strip_prefix('.'));
    let is_dots = after_dots.is_some_and(|rest| rest.bytes().next().is_none_or(|byte| !is_never_encoded(byte)));
    all_good && !after_space && value.len() <= 128 && !is_dots
}

/// How a claim value is written into a route: as it is, or as `encodeURIComponent` of ECMAScript
/// writes it, or both. Empty if the value is not usable.
#[must_use]
pub fn spellings(value: &str) -> Vec<String> {
    if !is_usable(value) {
        return Vec::new();
    }
    let spelled = |spelling: &Spelling| {
        let mut text = String::new();
        match spelling {
            Spelling::AsItIs => text.push_str(value),
            Spelling::Encoded => push_encoded(&mut text, value),
        }
        text
    };
    Spelling::all(value).iter().map(spelled).collect()
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

fn push_encoded(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if is_never_encoded(byte) {
            text.push(char::from(byte));
        } else {
            let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default().to_ascii_uppercase();
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
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

    #[test]
    fn a_value_has_its_spellings() {
        for (value, expected) in [
            ("acme", &["acme"][..]),
            ("a@b", &["a@b", "a%40b"]),
            ("a b", &["a%20b"]),
            ("a/b", &[]),
            ("..@b", &[]),
            ("", &[]),
        ] {
            assert_eq!(spellings(value), expected, "{value}");
        }
    }

    fn parse(text: &str) -> Result<Vec<Route>, RouteError> {
        Route::parse(text, &["id", "x"], &["prod".to_owned(), "v1".to_owned()], 0)
    }

    fn paths(route: &str, values: [&str; 2]) -> Vec<String> {
        let [route] = &parse(route).unwrap()[..] else { panic!("several methods") };
        let value = |index: usize| values[index];
        let path = |number| {
            let mut text = "before".to_owned();
            route.write_spelling(&mut text, number, value);
            text.strip_prefix("before").unwrap().trim_start_matches(char::is_alphabetic).to_owned()
        };
        (0..route.spelling_count(value)).map(path).collect()
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
            ("GET /a:b/:/:7", "/a:b/:/:7"),
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
        let mut encoded = "x".to_owned();
        push_encoded(&mut encoded, all);
        assert_eq!(encoded, "x-._~%40%2B%3D%2C%3A!%26'()%20");
        push_encoded(&mut encoded, "\u{7f}/");
        assert!(encoded.ends_with("%20%7F%2F"));
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
        let routes = parse("ANY /a/{x}/b{id}").unwrap();
        let methods = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
        assert!(routes.iter().zip(methods).all(|(route, method)| {
            route.pieces[0] == RoutePiece::Literal(format!("{method}/a/")) && routes.len() == methods.len()
        }));
        assert!(routes.iter().all(|route| route.piece_count() == 4 && route.guard().is_none()));
        let guard = |text| parse(text).unwrap()[0].guard();
        assert_eq!(["GET /a", "GET /a/*", "GET /*"].map(guard), [None, Some(PathGuard::Usual), Some(PathGuard::Usual)]);
        assert_eq!(["GET /*/a", "GET /*/*", "GET /*/"].map(guard), [Some(PathGuard::WithEnd); 3]);
        let mut text = "GET/x".to_owned();
        routes[6].write(&mut text, |index| ["1", "2"][index]);
        assert_eq!(text, "GET/xPUT/a/2/b1");
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
            assert_eq!(
                parse(route).unwrap()[0].other_end(),
                other.map(|other| parse(other).unwrap().remove(0)),
                "{route}"
            );
        }
    }

    #[test]
    fn a_path_is_not_written_beyond_the_longest_resource() {
        let long = "x".repeat(400);
        let path = |route: &str| paths(route, [&long, &long]).remove(0);
        assert_eq!(path("GET /{id}"), format!("/{long}"));
        assert_eq!(path(&format!("GET /{{id}}{}", "y".repeat(107))), format!("/{long}{}", "y".repeat(107)));
        for end in ["y".repeat(108), "y".repeat(109), "y".repeat(508)] {
            assert_eq!(path(&format!("GET /{{id}}{end}{{x}}")), format!("/{long}{}", "y".repeat(108)));
        }
        assert_eq!(path("GET /{id}/{x}/{id}"), format!("/{long}/{}", "x".repeat(107)));
    }

    #[test]
    fn a_route_has_512_characters_at_most_without_its_captures() {
        let route = |length: usize| parse(&format!("GET /{{id}}{}", "a".repeat(length - "GET/".len())));
        assert!(route(MAX_RESOURCE).is_ok());
        assert_eq!(route(MAX_RESOURCE + 1), Err(RouteError::TooLong));
    }

    #[test]
    fn a_route_has_10_captures_at_most() {
        let route = |count: usize| parse(&format!("GET /{}", "{id}".repeat(count)));
        assert!(route(10).is_ok());
        assert_eq!(route(11), Err(RouteError::TooManyCaptures));
    }

    #[test]
    fn routes_that_start_alike_are_written_together() {
        let route = |text: &str| parse(text).unwrap().remove(0);
        for (one, other, expected) in [
            ("GET /a/{id}", "GET /a/{id}/b", true),
            ("GET /a/{id}", "GET /a/{x}", false),
            ("GET /a/{id}", "GET /b/{id}", false),
            ("GET /a/{id}", "PUT /a/{id}", false),
            ("GET /a", "GET /a/{id}", false),
            ("GET /a/", "GET /a/{id}", false),
        ] {
            assert_eq!(route(one).starts_like(&route(other)), expected, "{one} {other}");
        }
        assert!(route("GET /{id}").has_capture() && !route("GET /a/*").has_capture());
    }

    #[test]
    fn an_error_says_what_is_wrong_with_a_route() {
        let dots = |segment: &str| RouteError::DotSegment(segment.to_owned());
        let method = |method: &str| RouteError::Method(method.to_owned());
        let slash = |path: &str| RouteError::NoSlash(path.to_owned());
        let stage = |route: &str| RouteError::Stage(route.to_owned());
        let name = |name: &str| RouteError::Pattern(PatternError::BadName(name.to_owned()));
        for (route, error) in [
            ("", RouteError::NoMethod),
            ("GET", RouteError::NoMethod),
            ("GET a", slash("a")),
            ("GET https://x/a", RouteError::Url("https://x/a".to_owned())),
            ("GET\t/a", RouteError::OddSpace('\t')),
            ("GET\u{a0}/a", RouteError::OddSpace('\u{a0}')),
            ("GET  /a", RouteError::WhiteSpace),
            ("GET *", slash("*")),
            ("/a", RouteError::NoMethod),
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
            ("GET /%2e%2E/a", dots("%2e%2E")),
            ("GET /a/.%2e", dots(".%2e")),
            ("arn:aws:execute-api:eu-west-1:1:a1/prod/GET/a:b/c", RouteError::Arn("GET /a:b/c".to_owned())),
            ("GET arn:aws:execute-api:eu-west-1:1:a1/prod/*/a/*", RouteError::Arn("ANY /a/*".to_owned())),
            ("GET /a*", RouteError::Wildcard),
            ("GET /**", RouteError::Wildcard),
            ("GET /{id}*", RouteError::Wildcard),
            ("GET /a/*b", RouteError::Wildcard),
            ("GET /a*/b", RouteError::Wildcard),
            ("GET /{proxy+}", RouteError::Proxy("proxy".to_owned())),
            ("GET /a/{rest+}/b", RouteError::Proxy("rest".to_owned())),
            ("GET /users/:id/x", RouteError::Colon(":id".to_owned())),
            ("GET /prod/orders", stage("GET /orders")),
            ("GET /v1/*", stage("GET /*")),
            ("ANY /prod", stage("ANY /")),
            ("GET /a?", RouteError::Character('?')),
            ("GET /a b", RouteError::WhiteSpace),
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
    fn an_error_names_an_odd_space() {
        assert_eq!(RouteError::OddSpace('\u{a0}').to_string(), "has the white space U+00A0; write a normal space");
    }

    #[test]
    fn only_usable_values_go_into_a_route() {
        for good in "a Z 0 a.b ... ..a a.. ..a@ ...@ .a - _ ~ @ + = , ! : & ' ( ) ada@example.com 00u1-._~@+=,! a&b (a)"
            .split(' ')
        {
            assert!(is_usable(good), "{good}");
        }
        assert!(is_usable("Smith & Sons (UK)") && is_usable("a b c"));
        assert!(is_usable(&"x".repeat(128)) && !is_usable(&"x".repeat(129)) && !is_usable(&"x".repeat(5000)));
        let visible = "* ** ? 00u* *:* $ ${aws:username} ${*} $default / a/b ../umbra .. . ..@x .@x ..+ .= .,a ..:a .& % %2e %2e%2e %2E%2E%2F \
                       %252e%252e%252f %2a \" a\"b \\ a\\b a;b ; a#b <a> [a] {a} {uid} a|b a^b a`b # é a\u{301} \
                       ａ ＊ \u{202e}a a\u{200b} 💥";
        let blank = ["", " ", "a  b", " a", "a ", "\t", "a\nb", "a\r\nb", "a\0b", "a\u{a0}b", ". .", ".. a"];
        for bad in visible.split(' ').chain(blank) {
            assert!(!is_usable(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_mistake_says_what_to_write_instead() {
        const PATH: &str = "expected letters, digits and - . _ ~ @ + = , : ! & ' ( ) ; or %XX";
        for (text, message) in [
            ("* /a", "has the method `*`; for every method, write `ANY`"),
            ("ALL /a", "has the method `ALL`; for every method, write `ANY`"),
            ("any /a", "has the method `any`; for every method, write `ANY`"),
            ("get /a", "has the method `get`; write it in capitals: `GET`"),
            ("GET,POST /a", "has the method `GET,POST`; write a route for each method"),
            ("FETCH /a", "has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY"),
            ("GET /a?b=1", "has `?` in its path; a policy does not see the query string, so leave it out"),
            ("GET /a#b", "has `#` in its path; clients do not send what follows it, so leave it out"),
            ("GET /u/<uid>", "has `<` in its path; a capture is written {name}, and any segment is *"),
            ("GET /a%zz", "has `%` in its path; it is followed by two hex digits, and %25 is a `%`"),
            ("GET /gr\u{f6}\u{df}e", "has `\u{f6}` in its path; write it as clients send it: %C3%B6"),
            ("GET /$a", &format!("has `$` in its path; {PATH}")),
            (
                "GET /reports/*.pdf",
                "has a `*` that is only a part of a segment; a `*` is a whole segment, such as `/files/*`, and a part of \
                 one is a capture, such as `/files/{name}.pdf`",
            ),
            (
                "arn:aws:execute-api:eu-west-1:1:a1/prod/GET/a",
                "is an ARN; a route is the method and the path only, so write `GET /a`",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
