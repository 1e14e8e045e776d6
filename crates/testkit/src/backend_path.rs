//! Paths as a backend may interpret them. API Gateway passes the raw path on.

/// `path` after `times` rounds of percent-decoding (RFC 3986, 2.1) and the removal of dot segments
/// (RFC 3986, 5.2.4).
///
/// - A backslash is a slash.
/// - A segment's parameters are ignored: `..;x` is `..`, as in servlet containers.
/// - Tabs and line breaks are removed, and so are spaces at the end (WHATWG URL standard).
/// - The path ends at a `#`, at a `?` and at a NUL.
/// - Overlong UTF-8 forms of dots and slashes are decoded (CVE-2008-2938).
///
/// A `?` that is not encoded is an ordinary character, because API Gateway ends the path there, so
/// it cannot arrive.
pub fn as_a_backend_reads_it(path: &str, times: usize) -> Vec<u8> {
    let decoded = decoded(path, times);
    let mut out: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = decoded.split(|byte| matches!(byte, b'/' | b'\\')).skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        match dots(segment) {
            Some(1) => {}
            Some(_) => {
                out.pop();
            }
            None => {
                out.push(segment);
                continue;
            }
        }
        if is_last {
            out.push(b"");
        }
    }
    out.iter().flat_map(|segment| [b"/".as_slice(), segment].concat()).collect()
}

/// Whether any segment is `.` or `..` after decoding.
pub fn has_dot_segments(path: &str, times: usize) -> bool {
    decoded(path, times).split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| dots(segment).is_some())
}

fn dots(segment: &[u8]) -> Option<usize> {
    let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    (name == b"." || name == b"..").then_some(name.len())
}

fn decoded(path: &str, times: usize) -> Vec<u8> {
    let without_breaks = |mut text: Vec<u8>| {
        text.retain(|byte| !matches!(byte, b'\t' | b'\n' | b'\r'));
        text
    };
    let raw = without_breaks(path.replace('?', "_").into_bytes());
    let mut text = (0..times).fold(raw, |text, time| {
        let text = without_breaks(decode(&text));
        if time == 0 { with_overlong_forms_decoded(&text) } else { text }
    });
    while text.pop_if(|byte| *byte == b' ').is_some() {}
    text.truncate(text.iter().position(|byte| matches!(byte, b'#' | b'?' | b'\0')).unwrap_or(text.len()));
    text
}

fn with_overlong_forms_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        let read = match (out.last(), byte) {
            (Some(0xc0), 0xae) => b'.',
            (Some(0xc0), 0xaf) => b'/',
            (Some(0xc1), 0x9c) => b'\\',
            _ => {
                out.push(*byte);
                continue;
            }
        };
        out.pop();
        out.push(read);
    }
    out
}

fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let escaped = (text[at] == b'%').then(|| Some((digit(text.get(at + 1))?, digit(text.get(at + 2))?))).flatten();
        if let Some((high, low)) = escaped {
            out.push(u8::try_from(high * 16 + low).unwrap());
            at += 3;
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

#[test]
fn dot_segments_are_removed_after_every_decoding() {
    for (path, times, expected) in [
        ("/a/b/c", 0, "/a/b/c"),
        ("/a/../b", 0, "/b"),
        ("/a/./b", 0, "/a/b"),
        ("/a/..", 0, "/"),
        ("/a/b/..", 0, "/a/"),
        ("/../../a", 0, "/a"),
        ("/a/%2e%2E/b", 0, "/a/%2e%2E/b"),
        ("/a/%2e%2E/b", 1, "/b"),
        ("/a%2f..%2fb", 1, "/b"),
        ("/a/%252e./b", 1, "/a/%2e./b"),
        ("/a/%252e./b", 2, "/b"),
        ("/a/%%32e./b", 2, "/b"),
        ("/a\\..\\b", 0, "/b"),
        ("/a%5c..%5Cb", 1, "/b"),
        ("/a/..;x=1/b", 0, "/b"),
        ("/a/...", 0, "/a/..."),
        ("/a/%zz/%", 2, "/a/%zz/%"),
        ("/a/%09..%0D%0a/b", 1, "/b"),
        ("/a/%2509../b", 1, "/a/%09../b"),
        ("/a/%2509../b", 2, "/b"),
        ("/a/\t../b", 0, "/b"),
        ("/a/.\r\n./b", 0, "/b"),
        ("/a/..#b", 0, "/"),
        ("/a/..%23b", 0, "/a/..%23b"),
        ("/a/..%23b", 1, "/"),
        ("/a/..%3Fb", 1, "/"),
        ("/a/..?b", 0, "/a/.._b"),
        ("/a/..\0b", 0, "/"),
        ("/a/..%00", 1, "/"),
        ("/a/.. ", 0, "/"),
        ("/a/..%20", 1, "/"),
        ("/a/.. /b", 0, "/a/.. /b"),
        ("/a%C0%AF%c0%ae./b", 1, "/b"),
        ("/a%c1%9c../b", 1, "/b"),
    ] {
        assert_eq!(String::from_utf8_lossy(&as_a_backend_reads_it(path, times)), expected, "{path} {times}");
    }
}
