//! Which URLs are accepted: as an issuer, as an endpoint, and as a proxy.

use std::borrow::Cow;

use http::Uri;
use url::{Host, Url};

use super::{env::odd_character, quoted};

pub(super) const ACCEPTED_ISSUER: &str = "the issuer of a custom authorization server, such as https://example.okta.com/oauth2/default, or several separated by commas";

/// The domains of Okta's orgs.
const OKTA_DOMAINS: [&str; 5] = ["okta.com", "oktapreview.com", "okta-emea.com", "okta-gov.com", "okta.mil"];

/// What documentation writes for a value of the reader, without `-` and `_` and in lower case.
const PLACEHOLDERS: [&str; 8] = [
    "yourokta",
    "oktadomain",
    "/yourdomain.",
    "/yourorg.",
    "/yourcompany.",
    "/yourtenant.",
    "authserverid",
    "authorizationserverid",
];

/// What is wrong with a URL, and what is accepted instead.
pub(super) type Problem = (Cow<'static, str>, Cow<'static, str>);

/// Checks that a text can be the `iss` of access tokens. The error is that of the part that matters
/// most: `https://example.okta.com/` is an org first, and has a slash at its end second.
pub(super) fn check_issuer(text: &str) -> Result<(), Problem> {
    let url = endpoint(text).map_err(|problem| (problem, ACCEPTED_ISSUER.into()))?;
    let is_odd = |accepted: &'static str| move |c: &char| !c.is_ascii_alphanumeric() && !accepted.contains(*c);
    // A host can have a port, and brackets around an address. The id of a server has neither.
    let odd = text.chars().find(is_odd("-._~:/[]")).or_else(|| url.path().chars().find(is_odd("-._~/")));
    if let Some(character) = odd {
        return Err((format!("has `{character}`, which no issuer has").into(), ACCEPTED_ISSUER.into()));
    }
    let shorter = text.trim_end_matches('/');
    if shorter != text {
        check_issuer(shorter)?;
        return Err(("ends in a slash".into(), quoted(shorter).into()));
    }
    if let Some(start) = ["/v1", "/.well-known"].iter().find_map(|part| position_of_segment(text, part)) {
        let issuer = text.get(..start).unwrap_or_default();
        check_issuer(issuer)?;
        return Err(("is an endpoint of an issuer, and not the issuer".into(), quoted(issuer).into()));
    }
    if !is_loopback(&url) {
        check_okta_issuer(&url)?;
    }
    // `iss` is compared byte for byte, and Okta writes a URL as the standard does.
    let mut normal = url.clone();
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')) {
        normal.set_host(Some(host)).map_err(|_| ("is not a URL".into(), ACCEPTED_ISSUER.into()))?;
    }
    let normal = normal.as_str().trim_end_matches('/');
    if normal != text {
        return Err(("is not in its normal form, which `iss` has".into(), quoted(normal).into()));
    }
    Ok(())
}

/// The rules for hosts that can be Okta's. A custom authorization server is `/oauth2/` and its id,
/// on a domain of Okta or on a custom domain.
///
/// Source: Okta developer documentation, "Authorization servers", on organization URLs and issuers:
/// <https://developer.okta.com/docs/concepts/auth-servers/>.
fn check_okta_issuer(url: &Url) -> Result<(), Problem> {
    let host = url.host_str().unwrap_or_default();
    let org = OKTA_DOMAINS.iter().find_map(|domain| host.strip_suffix(domain)?.strip_suffix('.'));
    if org.is_some_and(|org| org.ends_with("-admin")) {
        return Err((
            "is the host of the admin console, which issues no tokens".into(),
            "the same without -admin".into(),
        ));
    }
    let path = url.path();
    if path.contains("//") {
        return Err(("has an empty segment in its path".into(), ACCEPTED_ISSUER.into()));
    }
    if let Some((id, _)) = path.strip_prefix("/oauth2/").and_then(|server| server.split_once('/')) {
        let issuer = format!("{}/oauth2/{id}", url.origin().ascii_serialization());
        return Err(("goes on after the id of the authorization server".into(), quoted(&issuer).into()));
    }
    let is_org = path == "/" || path == "/oauth2" || (org.is_some() && !path.starts_with("/oauth2/"));
    if is_org {
        return Err((
            "is an Okta org and not a custom authorization server, so its access tokens are for Okta's own APIs".into(),
            format!("a custom authorization server, such as https://{host}/oauth2/default").into(),
        ));
    }
    Ok(())
}

/// Where the path of a URL has this segment: the position of its slash.
fn position_of_segment(url: &str, segment: &str) -> Option<usize> {
    let host = url.find("://").map_or(0, |colon| colon + 3);
    url.match_indices(segment).map(|(start, _)| start).find(|start| {
        let rest = url.get(start + segment.len()..).unwrap_or_default();
        *start > host && (rest.is_empty() || rest.starts_with('/'))
    })
}

/// Parses an `https` URL with a host and without a query. `http` is accepted for loopback hosts
/// only.
pub(super) fn endpoint(text: &str) -> Result<Url, Cow<'static, str>> {
    let url = endpoint_with_query(text)?;
    if url.query().is_some() { Err("has credentials, a query or a fragment".into()) } else { Ok(url) }
}

/// The same, with or without a query.
pub(super) fn endpoint_with_query(text: &str) -> Result<Url, Cow<'static, str>> {
    if let Some(problem) = odd_character(text) {
        return Err(problem.into());
    }
    let squeezed: String = text.to_ascii_lowercase().chars().filter(|c| !matches!(c, '-' | '_')).collect();
    if text.contains('$') || PLACEHOLDERS.iter().any(|word| squeezed.contains(word)) {
        return Err("has a placeholder".into());
    }
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if url.host().is_none() {
        return Err("is a URL without a host".into());
    }
    // `Url::parse` silently repairs `https:/host`, `https:///host` and backslashes. So look at the
    // text itself.
    let is_protected = text.starts_with("https://") || (is_loopback(&url) && text.starts_with("http://"));
    if !is_protected {
        return Err("is not https".into());
    }
    if text.contains(":///") || text.contains('\\') || !text.is_ascii() {
        return Err("is not a URL".into());
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("has credentials, a query or a fragment".into());
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Checks a proxy as the HTTP client reads it. Whatever the client cannot read, it ignores, and
/// connects directly; and it has no SOCKS. A proxy without a scheme is `http`. It needs a port
/// then, because every word can be the name of a host.
///
/// The error does not show the text, because it can have a password.
pub(super) fn check_proxy(text: &str) -> Result<(), &'static str> {
    let with_scheme = match text.split_once("://") {
        Some((scheme, _)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            text.to_owned()
        }
        Some(_) => return Err("is neither http nor https"),
        None => format!("http://{text}"),
    };
    // The client parses with `Uri`, which takes a port that is too large as no port.
    let (Ok(url), Ok(uri)) = (Url::parse(&with_scheme), text.parse::<Uri>()) else { return Err("is not a URL") };
    if uri.authority().is_none() || !(text.contains("://") || uri.port().is_some()) {
        return Err("is not a URL");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("has a path, which a proxy has not");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer_error(text: &str) -> String {
        let (problem, accepted) = check_issuer(text).unwrap_err();
        if accepted == ACCEPTED_ISSUER { problem.into() } else { format!("{problem}; {accepted}") }
    }

    #[test]
    fn issuers_of_custom_authorization_servers_are_accepted() {
        for issuer in [
            "https://example.okta.com/oauth2/default",
            "https://dev-123456.okta.com/oauth2/aus9o8wzkhckw9TLa0h7z",
            "https://example.oktapreview.com/oauth2/default",
            "https://example.okta-emea.com/oauth2/default",
            "https://example.okta-gov.com/oauth2/default",
            "https://example.okta.mil/oauth2/default",
            "https://login.example.com/oauth2/default",
            "https://login.example.com:8443/oauth2/aus1",
            "https://id.example.com/realms/x",
            "https://my-admin.example.com/oauth2/default",
            "https://okta.com.example/oauth2/default",
            "https://xn--bcher-kva.example/oauth2/default",
            "https://example.okta.com/oauth2/v12",
            "https://v1/oauth2/default",
            "https://observerid.okta.com/oauth2/default",
            "https://findyourorg.okta.com/oauth2/default",
            "https://localhost:8443",
            "http://localhost:8080/x",
            "http://127.0.0.1:9",
            "http://127.0.0.1:9/oauth2",
            "http://[::1]:9/oauth2/default",
        ] {
            assert_eq!(check_issuer(issuer).err(), None, "{issuer}");
        }
    }

    #[test]
    fn an_org_is_not_a_custom_authorization_server() {
        const PROBLEM: &str =
            "is an Okta org and not a custom authorization server, so its access tokens are for Okta's own APIs";
        for (issuer, host) in [
            ("https://example.okta.com", "example.okta.com"),
            ("https://example.okta.com/", "example.okta.com"),
            ("https://EXAMPLE.okta.com", "example.okta.com"),
            ("https://example.okta.com/oauth2", "example.okta.com"),
            ("https://example.okta.com/oauth2/", "example.okta.com"),
            ("https://example.okta.com/oauth2/v1", "example.okta.com"),
            ("https://example.okta.com/oauth2/v1/keys", "example.okta.com"),
            ("https://example.okta.com/default", "example.okta.com"),
            ("https://example.okta.com/.well-known/openid-configuration", "example.okta.com"),
            ("https://example.okta.com/api/v1/authorizationServers/aus1", "example.okta.com"),
            ("https://example.oktapreview.com", "example.oktapreview.com"),
            ("https://example.okta.mil/login", "example.okta.mil"),
            ("https://login.example.com", "login.example.com"),
            ("https://login.example.com/oauth2", "login.example.com"),
        ] {
            let expected = format!("{PROBLEM}; a custom authorization server, such as https://{host}/oauth2/default");
            assert_eq!(issuer_error(issuer), expected, "{issuer}");
        }
    }

    #[test]
    fn an_issuer_that_is_nearly_right_gets_the_right_one() {
        const ENDPOINT: &str = "is an endpoint of an issuer, and not the issuer";
        const NORMAL: &str = "is not in its normal form, which `iss` has";
        for (issuer, problem, right) in [
            ("https://example.okta.com/oauth2/default/", "ends in a slash", "https://example.okta.com/oauth2/default"),
            ("https://example.okta.com/oauth2/default/v1/keys", ENDPOINT, "https://example.okta.com/oauth2/default"),
            ("https://example.okta.com/oauth2/default/v1/keys/", ENDPOINT, "https://example.okta.com/oauth2/default"),
            ("https://example.okta.com/oauth2/aus1/v1/token", ENDPOINT, "https://example.okta.com/oauth2/aus1"),
            ("https://example.okta.com/oauth2/aus1/v1/authorize", ENDPOINT, "https://example.okta.com/oauth2/aus1"),
            ("https://example.okta.com/oauth2/aus1/v1", ENDPOINT, "https://example.okta.com/oauth2/aus1"),
            (
                "https://example.okta.com/oauth2/aus1/.well-known/oauth-authorization-server",
                ENDPOINT,
                "https://example.okta.com/oauth2/aus1",
            ),
            (
                "https://example.okta.com:8443/oauth2/default/authorize",
                "goes on after the id of the authorization server",
                "https://example.okta.com:8443/oauth2/default",
            ),
            ("http://127.0.0.1:9/", "ends in a slash", "http://127.0.0.1:9"),
            ("http://127.0.0.1:9/.well-known/openid-configuration", ENDPOINT, "http://127.0.0.1:9"),
        ] {
            assert_eq!(issuer_error(issuer), format!("{problem}; `{right}`"), "{issuer}");
        }
        for (issuer, right) in [
            ("https://Example.okta.com/oauth2/default", "https://example.okta.com/oauth2/default"),
            ("https://example.okta.com:443/oauth2/default", "https://example.okta.com/oauth2/default"),
            ("https://example.okta.com/x/../oauth2/default", "https://example.okta.com/oauth2/default"),
            ("https://example.okta.com./oauth2/default", "https://example.okta.com/oauth2/default"),
            ("http://127.1:9/x", "http://127.0.0.1:9/x"),
        ] {
            assert_eq!(issuer_error(issuer), format!("{NORMAL}; `{right}`"), "{issuer}");
        }
        assert_eq!(
            issuer_error("https://example-admin.okta.com/oauth2/default"),
            "is the host of the admin console, which issues no tokens; the same without -admin"
        );
        assert_eq!(
            issuer_error("https://example-admin.oktapreview.com"),
            issuer_error("https://x-admin.okta.com/admin")
        );
    }

    #[test]
    fn text_that_is_no_issuer_is_rejected() {
        for (issuer, problem) in [
            ("https://{yourOktaDomain}/oauth2/default", "has a placeholder"),
            ("https://${yourOktaDomain}/oauth2/default", "has a placeholder"),
            ("https://$OKTA_DOMAIN/oauth2/default", "has a placeholder"),
            ("https://<domain>/oauth2/default", "has a placeholder"),
            ("https://example.okta.com/oauth2/{authorizationServerId}", "has a placeholder"),
            ("https://example.okta.com/oauth2/<id>", "has a placeholder"),
            ("https://yourOktaDomain/oauth2/default", "has a placeholder"),
            ("https://YOUR_OKTA_DOMAIN/oauth2/default", "has a placeholder"),
            ("https://your-okta-domain.okta.com/oauth2/default", "has a placeholder"),
            ("https://yourdomain.okta.com/oauth2/default", "has a placeholder"),
            ("https://your-org.okta.com/oauth2/default", "has a placeholder"),
            ("https://example.okta.com/oauth2/authServerId", "has a placeholder"),
            ("https://example.okta.com/oauth2/%7Bid%7D", "has `%`, which no issuer has"),
            ("https://*.okta.com/oauth2/default", "has `*`, which no issuer has"),
            ("https://example.okta.com/oauth2/[id]", "has `[`, which no issuer has"),
            ("https://example.okta.com/oauth2/default:443", "has `:`, which no issuer has"),
            ("\"https://example.okta.com/oauth2/default\"", "has a quotation mark"),
            ("https://a.okta.com/oauth2/x;https://b.okta.com/oauth2/x", "has a semicolon"),
            (
                "https://a.okta.com/oauth2/x https://b.okta.com/oauth2/x",
                r"has white space or an invisible character (\u{20})",
            ),
            ("https://a.okta.com/oauth2/x\u{200b}", r"has white space or an invisible character (\u{200b})"),
            ("https://exam\tple.okta.com/oauth2/x", r"has white space or an invisible character (\u{9})"),
            ("https://bücher.example/oauth2/x", "is not a URL"),
            ("https://example.okta.com//oauth2/default", "has an empty segment in its path"),
            ("https://example.okta.com/oauth2//default", "has an empty segment in its path"),
            ("example.okta.com", "is not a URL"),
            ("//example.okta.com/oauth2/default", "is not a URL"),
            ("http://localhost.example.com/oauth2/default", "is not https"),
            ("http://10.0.0.1/oauth2/default", "is not https"),
            ("http://169.254.169.254/oauth2/default", "is not https"),
            ("http://localhost@example.com/oauth2/default", "is not https"),
            ("ftp://example.okta.com/oauth2/default", "is not https"),
            ("file:///etc/passwd", "is a URL without a host"),
            ("http://example.okta.com", "is not https"),
            ("https:/example.okta.com", "is not https"),
            ("HTTPS://example.okta.com", "is not https"),
            ("http://127.0.0.1.example.com", "is not https"),
            ("https://", "is not a URL"),
            ("https:///oauth2/default", "is not a URL"),
            ("https://example.okta.com\\x", "is not a URL"),
            ("https://u:p@example.okta.com/oauth2/default", "has credentials, a query or a fragment"),
            ("https://example.okta.com/oauth2/default?x", "has credentials, a query or a fragment"),
            ("https://example.okta.com/oauth2/default#x", "has credentials, a query or a fragment"),
        ] {
            assert_eq!(issuer_error(issuer), problem, "{issuer}");
        }
        // A real company can be named so.
        assert_eq!(check_issuer("https://yourmechanic.okta.com/oauth2/default").err(), None);
    }

    #[test]
    fn a_proxy_is_a_host_of_http_or_https() {
        for proxy in [
            "http://proxy.example:3128",
            "https://proxy.example",
            "HTTP://proxy.example/",
            "http://user:p%40ss@10.0.0.1:3128",
            "http://[::1]:3128",
            "http://proxy",
            "proxy.example:3128",
            "user:pass@proxy.example:3128",
            "http://user:it's;me@proxy.example:3128",
        ] {
            assert_eq!(check_proxy(proxy), Ok(()), "{proxy}");
        }
        for (proxy, problem) in [
            ("nonsense", "is not a URL"),
            ("not-a-proxy://x", "is neither http nor https"),
            ("socks5://proxy.example:1080", "is neither http nor https"),
            ("http//proxy.example:3128", "is not a URL"),
            ("http:proxy.example", "is not a URL"),
            ("http://", "is not a URL"),
            ("http://proxy.example:99999", "is not a URL"),
            ("http://proxy.example:port", "is not a URL"),
            ("http://proxy .example:3128", "is not a URL"),
            ("http://proxy.example:3128 ", "is not a URL"),
            (" http://proxy.example:3128", "is neither http nor https"),
            ("\"http://proxy.example:3128\"", "is neither http nor https"),
            ("http://user:p@ss/w@proxy.example:3128", "has a path, which a proxy has not"),
            ("http://a.example:3128;http://b.example:3128", "is not a URL"),
            ("http://a.example:3128,http://b.example:3128", "is not a URL"),
            ("http://proxy.example:3128/proxy.pac", "has a path, which a proxy has not"),
        ] {
            assert_eq!(check_proxy(proxy), Err(problem), "{proxy}");
        }
    }
}
