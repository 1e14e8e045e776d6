//! The path guard: paths that a backend may read as another path than the one that was granted.
//!
//! API Gateway matches and forwards the raw path. A backend after a `{proxy+}` may normalise it, so
//! `/tenants/acme/*` could lead to `/tenants/acme/../umbra`. The guard is a Deny statement in the
//! policy itself, because API Gateway caches the policy and does not call the authorizer again.

use super::wildcard::matches;

/// The guard's resources, without the stage in front of each.
#[rustfmt::skip]
pub(super) const PATTERNS: [&str; 43] = [
    // Dot segments (RFC 3986 §5.2.4).
    "*/../*", "*/..", "*/./*", "*/.",
    // Dot segments with a path parameter; servlet containers drop it (Jakarta Servlet 6.0 §3.5.2).
    "*/..;*", "*/.;*",
    // Dot segments followed by anything encoded, such as `..%3b` or `..%00`.
    "*/..%*", "*/.%*",
    // Dot segments followed by a space. URL parsers drop spaces at the end (WHATWG URL §4.4).
    "*/.. *", "*/. *",
    // A `#`, at which URL parsers end the path (WHATWG URL §4.4). No client sends one unencoded.
    "*#*",
    // Control characters: URL parsers drop tabs and line breaks everywhere (WHATWG URL §4.4), and
    // for C programs a NUL ends the path (CWE-158). HTTP allows none of them (RFC 9112 §3.2).
    "*\t*", "*\n*", "*\r*", "*\0*",
    // Backslashes, which parsers of special URLs read as slashes (WHATWG URL §4.4).
    "*\\*",
    // Encoded dots, slashes and backslashes, in both cases (RFC 3986 §2.1).
    "*%2e*", "*%2E*", "*%2f*", "*%2F*", "*%5c*", "*%5C*",
    // The same, encoded twice (CWE-174).
    "*%252e*", "*%252E*", "*%252f*", "*%252F*", "*%255c*", "*%255C*",
    // Encoded characters of `2e`, `2f` and `5c`. Encoders leave those plain (RFC 3986 §2.3).
    "*%32*", "*%35*", "*%43*", "*%45*", "*%46*", "*%63*", "*%65*", "*%66*",
    // Control characters, encoded once or twice.
    "*%0*", "*%250*", "*%30*",
    // First bytes of overlong ASCII. UTF-8 never has them (RFC 3629 §3, CVE-2008-2938).
    "*%c0*", "*%C0*", "*%c1*", "*%C1*",
];

/// More patterns, for a policy that allows a `*` with text after it. A `#` or `?` that is encoded,
/// once or twice, ends the path for a backend that decodes it before it looks for the end. Then the
/// text after the `*` is not part of the path: `/orders/7/refund%3f/invoice` is `/orders/7/refund`.
#[rustfmt::skip]
pub(super) const PATTERNS_WITH_END: [&str; 7] = [
    "*%23*", "*%3f*", "*%3F*", "*%2523*", "*%253f*", "*%253F*",
    // An encoded `3`, for `%%333f` and the like.
    "*%33*",
];

/// Whether the path guard of some policy denies a request with this `{METHOD}/{path}`.
#[must_use]
pub fn can_be_guarded(method_and_path: &str) -> bool {
    PathGuard::WithEnd.denies(method_and_path)
}

/// The guard of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathGuard {
    /// For policies in which a `*` is only at the end of resources.
    Usual,
    /// For policies that allow a `*` with text after it.
    WithEnd,
}

impl PathGuard {
    /// The guard for a policy that allows this path. `None` if it has no `*`.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path.split_once('*')? {
            (_, "") => Some(Self::Usual),
            _ => Some(Self::WithEnd),
        }
    }

    /// The resources, without the stage in front of each.
    pub(super) fn patterns(self) -> impl Iterator<Item = &'static str> {
        let further: &[&str] = if self == Self::WithEnd { &PATTERNS_WITH_END } else { &[] };
        PATTERNS.iter().chain(further).copied()
    }

    /// Whether the guard denies a request with this `{METHOD}/{path}`.
    pub(super) fn denies(self, method_and_path: &str) -> bool {
        // Fast path: every pattern has one of these.
        (method_and_path.contains(['%', '\\', '#', '\t', '\n', '\r', '\0']) || method_and_path.contains("/."))
            && self.patterns().any(|pattern| matches(pattern, method_and_path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_guarded_in_some_policy_or_in_none() {
        for (path, is_guarded) in
            [("GET/a/../b", true), ("GET/a%2fb", true), ("GET/a%23b", true), ("GET/a%20b", false), ("GET/a.b/c", false)]
        {
            assert_eq!(can_be_guarded(path), is_guarded, "{path}");
        }
    }

    /// If the fast path did not look for a pattern's characters, that pattern would do nothing.
    #[test]
    fn every_pattern_denies_what_it_matches() {
        for pattern in PathGuard::WithEnd.patterns() {
            assert!(PathGuard::WithEnd.denies(&format!("GET{}", pattern.replace('*', ""))), "{pattern:?}");
        }
    }

    #[test]
    fn denies_paths_that_a_backend_may_read_as_others() {
        for end in r"
            /../umbra  /..  /../  /./x  /.  /./  /domains/../../umbra  /..;/umbra  /.;x  /..%3b/umbra  /..%253B/umbra
            /.%09./umbra  /%2e  /%2e/umbra  /%2e%2e/umbra  /%2e%2e%2fumbra  /%2E%2E%2Fumbra  /%2e%2E/umbra  /%2E%2e/umbra
            /.%2e/umbra  /.%2E/umbra  /%2e./umbra  /..%2fumbra  /..%2Fumbra  %2fumbra  %2Fumbra  /%252e%252e/umbra
            /%252e%252e%252fumbra  /%252E%252E%252Fumbra  /%252e%252E/umbra  %252fumbra  %252Fumbra  /..%252fumbra
            /..%252Fumbra  \umbra  /..\umbra  %5cumbra  /..%5Cumbra  /%25%32%65./umbra  /%2%65./umbra  /%%32e./umbra
            /%09../umbra  /%0D%0A../umbra  /%250a../umbra  /%250A../umbra  /%00/../umbra  /%c0%ae%c0%ae/umbra
            /%c0%ae%C0%AE/umbra  /%C0%AF/umbra  /%C1%9C/umbra  /%C1%9cumbra"
            .split_whitespace()
        {
            assert!(PathGuard::Usual.denies(&format!("GET/t/acme{end}")), "{end}");
        }
        for end in [
            "/..#x",
            "/..#",
            "/.#",
            "/a#b",
            "/#/../..",
            "/.. ",
            "/. ",
            "/..  /umbra",
            "/.. #",
            "/.\t./umbra",
            "/\t../umbra",
            "/..\t",
            "/.\r\n./umbra",
            "/..\n",
            "/..\r/x",
            "/..\0",
            "/..\0x",
            "/\0/..x",
            "\t",
            "/x\0.png",
        ] {
            assert!(PathGuard::Usual.denies(&format!("GET/t/acme{end}")), "{end:?}");
        }
        for path in ["/t/../apps", "/t/..", "/t/./umbra", "/apps/../t/umbra", "/apps/.."] {
            assert!(PathGuard::Usual.denies(&format!("GET{path}")), "{path}");
        }
    }

    #[test]
    fn an_encoded_end_of_the_path_is_denied_if_the_end_matters() {
        for end in ["%23", "%3f/invoice", "%3F", "%2523", "%253f", "%253Fx", "%%333f", "/C%23"] {
            let path = format!("GET/orders/7{end}");
            assert!(PathGuard::WithEnd.denies(&path) && !PathGuard::Usual.denies(&path), "{end}");
        }
        assert_eq!(
            PathGuard::Usual.patterns().count() + PATTERNS_WITH_END.len(),
            PathGuard::WithEnd.patterns().count()
        );
    }

    #[test]
    fn lets_ordinary_paths_through() {
        for end in
            "/ /a..b /... /.well-known /%C3%A9%20%25 /%10%25c0 .b /..a /a.. /a/...b/c /file.tar.gz /a%20b /100%25 \
                    /2e2f /a:b:c /arn:aws:execute-api:us-east-1:123456789012:x/prod/GET/ //x /é /a&b=c;d,e@f!(g)'~_-+"
                .split(' ')
        {
            assert!(!PathGuard::Usual.denies(&format!("GET/t/acme{end}")), "{end}");
        }
    }
}
