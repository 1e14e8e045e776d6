//! When Okta may be asked again after it has refused a request because there were too many.

use aws_smithy_types::{DateTime, date_time::Format};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// No answer of Okta stops the requests for longer than this.
const MAX_SECONDS: u64 = 300;

/// The first epoch second in which Okta may be asked again, by the headers of an answer with status
/// 429 or 503. `None` if they name no time. Otherwise it is 1 to 300 s after `now`.
///
/// Three forms are read. If there are several times, the latest one counts, because a request
/// before it would be refused:
/// - `Retry-After` as a number of seconds (RFC 9110 §10.2.3). `now` is rounded down, so one more
///   second makes sure that all of them have passed.
/// - `Retry-After` as an HTTP-date in the preferred form (RFC 9110 §5.6.7).
/// - `X-Rate-Limit-Reset` in epoch seconds. Okta can send it twice: for the org and for the client.
///
/// A point in time is compared with our own clock. Lambda keeps it in step, and a token's times are
/// compared with it too.
///
/// Source: Okta developer documentation, "Rate limits".
pub(crate) fn not_before(headers: &HeaderMap, now: u64) -> Option<u64> {
    let values = |name: &str| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let retry_after = values(RETRY_AFTER.as_str()).map(str::trim).filter_map(|value| match seconds(value) {
        Some(seconds) => Some(now.saturating_add(seconds).saturating_add(1)),
        None => http_date(value),
    });
    let resets = values("x-rate-limit-reset").flat_map(|value| value.split(',')).map(str::trim).filter_map(seconds);
    let latest = retry_after.chain(resets).max()?;
    Some(latest.clamp(now.saturating_add(1), now.saturating_add(MAX_SECONDS)))
}

/// A whole number. One that is too large for the type counts as the largest.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The epoch second of an IMF-fixdate. A date before 1970 is as long ago as one in it.
fn http_date(text: &str) -> Option<u64> {
    // The parser accepts fractions of a second as well, and panics if there is a point without
    // digits.
    const LENGTH: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();
    let date = (text.len() == LENGTH).then(|| DateTime::from_str(text, Format::HttpDate).ok())??;
    Some(u64::try_from(date.secs()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    /// Fri, 27 Nov 2026 21:20:00 GMT.
    const NOW: u64 = 1_795_814_400;

    #[test]
    fn a_time_is_read_in_each_form() {
        let retry_after = |value| vec![("retry-after", value)];
        let reset = |value| vec![("x-rate-limit-reset", value)];
        for (headers, seconds) in [
            (vec![], None),
            (vec![("x-rate-limit-remaining", "0")], None),
            (retry_after("5"), Some(6)),
            (retry_after(" 5 "), Some(6)),
            (retry_after("0"), Some(1)),
            (retry_after("299"), Some(300)),
            (retry_after("300"), Some(300)),
            (retry_after("99999999999999999999999"), Some(300)),
            (retry_after("Fri, 27 Nov 2026 21:20:07 GMT"), Some(7)),
            (retry_after("Fri, 27 Nov 2026 21:20:00 GMT"), Some(1)),
            (retry_after("Thu, 26 Nov 2026 21:20:00 GMT"), Some(1)),
            (retry_after("Wed, 01 Jan 1930 00:00:00 GMT"), Some(1)),
            (retry_after("Sat, 28 Nov 2026 21:20:00 GMT"), Some(300)),
            (retry_after("Fri, 31 Dec 9999 23:59:59 GMT"), Some(300)),
            (reset("1795814409"), Some(9)),
            (reset("1795814400"), Some(1)),
            (reset("1"), Some(1)),
            (reset("1795814409000"), Some(300)),
            (reset("1795814409, 1795814420"), Some(20)),
            (vec![("x-rate-limit-reset", "1795814420"), ("x-rate-limit-reset", "1795814409")], Some(20)),
            (vec![("x-rate-limit-reset", "soon"), ("x-rate-limit-reset", "1795814409")], Some(9)),
            (vec![("retry-after", "3"), ("x-rate-limit-reset", "1795814409")], Some(9)),
            (vec![("retry-after", "30"), ("x-rate-limit-reset", "1795814409")], Some(31)),
            (vec![("retry-after", "soon"), ("x-rate-limit-reset", "1795814409")], Some(9)),
        ] {
            assert_eq!(not_before(&header_map(&headers), NOW), seconds.map(|seconds| NOW + seconds), "{headers:?}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_read_is_none() {
        for value in [
            "",
            "-1",
            "+5",
            "1.5",
            "5s",
            "soon",
            "Fri, 27 Nov 2026 21:20:07",
            "Fri, 27 Nov 2026 21:20:07 CET",
            "Fri, 31 Feb 2026 21:20:07 GMT",
            "Fri, 27 Nov 2026 21:20:61 GMT",
            "Fri, 27 Nov 2026 21:20:07. GMT",
            "Fri, 27 Nov 2026 21:20:7 GMT",
            "\u{e9}ri, 27 Nov 2026 21:20:07 GMT",
        ] {
            for name in ["retry-after", "x-rate-limit-reset"] {
                assert_eq!(not_before(&header_map(&[(name, value)]), NOW), None, "{name}: {value}");
            }
        }
    }

    fn header_map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let header = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        // `collect` would keep only the last value of a name.
        headers.iter().map(header).fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }
}
