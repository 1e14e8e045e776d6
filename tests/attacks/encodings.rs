//! Encodings: base64url, UTF-8, JSON, depth and size.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use okta_authorizer_testkit::{
    keys::{self, encode},
    with,
};
use serde_json::json;

use crate::table::{HEADER, Rows, parts, spliced};

/// `text`, an object, with a member whose digits differ between the alphabets. Its length is one
/// over a multiple of three: base64 would pad it with `==`, and four bits of the last digit are
/// unused.
fn one_over(text: &str) -> String {
    let padded = (0..3).map(|pad| spliced(&format!(r#""pad":"?>?>?????>>>>>{}""#, "a".repeat(pad)), text));
    padded.into_iter().find(|text| text.len() % 3 == 1).unwrap()
}

/// The same bytes for a decoder that ignores the unused bits of the last digit.
fn with_unused_bits(digits: &str, bits: usize) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = digits.split_at(digits.len() - 1);
    let at = ALPHABET.find(last).unwrap() + bits;
    format!("{rest}{}", &ALPHABET[at..=at])
}

pub fn base64url_is_canonical_and_unpadded(rows: &mut Rows) {
    const ALPHABET: &str = "RFC 7515 §2; RFC 4648 §5";
    const PADDING: &str = "RFC 7515 §2: no padding; RFC 4648 §3.2";
    const UNUSED: &str = "RFC 4648 §3.5: unused bits are zero";
    const OTHERS: &str = "RFC 7515 §2; RFC 4648 §3.3: no other characters";
    let (header, payload) = (one_over(HEADER), one_over(&rows.claims().to_string()));
    let good = keys::main().sign(&header, &payload);
    let [h, p, s] = parts(&good);
    let standard = |digits: &str| digits.replace('-', "+").replace('_', "/");
    let mixed = standard(p).replacen('/', "_", 1).replacen('+', "-", 1);
    assert!([h, p, s, &mixed].iter().all(|digits| standard(digits) != **digits), "digits that do not differ");

    // Only the signature itself is not covered by the signature.
    let mut row = |source, name: &str, [header, payload]: [&str; 2], signature: Option<String>, reason| {
        let input = format!("{header}.{payload}");
        let attack = signature.map_or_else(|| keys::main().seal(&input), |signature| format!("{input}.{signature}"));
        rows.token(source, name, attack, reason, &good);
    };
    let (bad_header, bad_payload, bad_signature) = ("bad_base64 header", "bad_base64 payload", "bad_signature");

    for padding in ["=", "=="] {
        row(PADDING, "padded header", [&format!("{h}{padding}"), p], None, bad_header);
        row(PADDING, "padded payload", [h, &format!("{p}{padding}")], None, bad_payload);
        row(PADDING, "padded signature", [h, p], Some(format!("{s}{padding}")), bad_signature);
    }
    row(PADDING, "percent-encoded padding", [h, &format!("{p}%3D%3D")], None, bad_payload);
    row(PADDING, "all padded", [&format!("{h}=="), &format!("{p}==")], Some(format!("{s}==")), bad_header);

    row(ALPHABET, "standard alphabet in the header", [&standard(h), p], None, bad_header);
    row(ALPHABET, "standard alphabet in the payload", [h, &standard(p)], None, bad_payload);
    row(ALPHABET, "standard alphabet in the signature", [h, p], Some(standard(s)), bad_signature);
    row(ALPHABET, "both alphabets in the payload", [h, &mixed], None, bad_payload);
    row(ALPHABET, "standard base64", [&STANDARD.encode(&header), &STANDARD.encode(&payload)], None, bad_header);

    for bits in [1, 5, 15] {
        row(UNUSED, "unused bits in the header", [&with_unused_bits(h, bits), p], None, bad_header);
        row(UNUSED, "unused bits in the payload", [h, &with_unused_bits(p, bits)], None, bad_payload);
        let signature = with_unused_bits(s, bits);
        assert_ne!(URL_SAFE_NO_PAD.decode(&signature).ok(), URL_SAFE_NO_PAD.decode(s).ok());
        row(UNUSED, "unused bits in the signature", [h, p], Some(signature), bad_signature);
    }
    row("RFC 4648 §4", "4n + 1 digits", [&format!("{}A", encode(format!("{header}  "))), p], None, bad_header);
    row("RFC 4648 §4", "a NUL", [&format!("{}A", encode(format!("{header} "))), p], None, "bad_json header");
    row("RFC 4648 §4", "one digit more in the signature", [h, p], Some(format!("{s}A")), bad_signature);

    for other in ["\n", "\r\n", "\t", "\0", "=", "%", "ü", "\u{200b}", "，", "\\u0041", "*", "\u{7f}"] {
        let broken = |digits: &str| format!("{}{other}{}", &digits[..8], &digits[8..]);
        row(OTHERS, &format!("{other:?} in the header"), [&broken(h), p], None, bad_header);
        row(OTHERS, &format!("{other:?} in the payload"), [h, &broken(p)], None, bad_payload);
        row(OTHERS, &format!("{other:?} after the payload"), [h, &format!("{p}{other}")], None, bad_payload);
        row(OTHERS, &format!("{other:?} in the signature"), [h, p], Some(broken(s)), bad_signature);
        row(OTHERS, &format!("{other:?} after it"), [h, p], Some(format!("{s}{other}")), bad_signature);
    }
    // What precedes the first space is read as the scheme.
    row(OTHERS, "a space in the payload", [h, &format!("{} {}", &p[..4], &p[4..])], None, "not_bearer");
}

/// Texts made from `object` that are not exactly one JSON object in UTF-8, and the sources.
fn not_one_object(object: &str) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    const JSON: &str = "RFC 8259 §2";
    const NOT_AN_OBJECT: &str = "RFC 7519 §7.2 step 10";
    const NUMBER: &str = "RFC 8259 §6";
    const STRING: &str = "RFC 8259 §7";
    const UTF8: &str = "RFC 8259 §8.1; RFC 3629 §3";
    const SURROGATE: &str = "RFC 8259 §8.2; RFC 7493 §2.1";
    const DEPTH: &str = "RFC 8259 §9: a limit on depth";
    let open = object.strip_suffix('}').unwrap();
    let text = |text: &str| text.as_bytes().to_vec();
    let around = |bytes: &[u8]| [open.as_bytes(), br#","x":""#, bytes, br#""}"#].concat();
    let member = |json: &str| format!(r#"{open},"x":{json}}}"#).into_bytes();
    let deep = |open_by: &str, close: &str, depth: usize| {
        member(&format!("{}1{}", open_by.repeat(depth), close.repeat(depth)))
    };
    vec![
        ("nothing", JSON, Vec::new()),
        ("a space", JSON, text(" ")),
        ("a word", JSON, text("hello")),
        ("an array of the object", NOT_AN_OBJECT, format!("[{object}]").into_bytes()),
        ("an array of values", NOT_AN_OBJECT, text(r#"["RS256","main"]"#)),
        ("an empty array", NOT_AN_OBJECT, text("[]")),
        ("the object as a string", NOT_AN_OBJECT, json!(object).to_string().into_bytes()),
        ("a number", NOT_AN_OBJECT, text("5")),
        ("null", NOT_AN_OBJECT, text("null")),
        ("true", NOT_AN_OBJECT, text("true")),
        ("not closed", JSON, text(open)),
        ("closed twice", JSON, format!("{object}}}").into_bytes()),
        ("two objects", JSON, format!("{object}{object}").into_bytes()),
        ("two lines of objects", JSON, format!("{object}\n{object}").into_bytes()),
        ("a letter after it", JSON, format!("{object}x").into_bytes()),
        ("a comma after it", JSON, format!("{object},").into_bytes()),
        ("a NUL after it", JSON, format!("{object}\0").into_bytes()),
        ("a NUL in front", JSON, format!("\0{object}").into_bytes()),
        ("a form feed in front", JSON, format!("\u{c}{object}").into_bytes()),
        ("a no-break space in front", JSON, format!("\u{a0}{object}").into_bytes()),
        ("a comma before its end", JSON, format!("{open},}}").into_bytes()),
        ("a comment", JSON, format!("{open}/**/}}").into_bytes()),
        ("a comment after it", JSON, format!("{object}//").into_bytes()),
        ("single quotes", STRING, object.replace('"', "'").into_bytes()),
        ("a name without quotes", "RFC 8259 §4", format!("{open},x:1}}").into_bytes()),
        ("a prefix against scripts", JSON, format!(")]}}'\n{object}").into_bytes()),
        ("a leading zero", NUMBER, member("01")),
        ("NaN", NUMBER, member("NaN")),
        ("a number larger than doubles", "RFC 8259 §6; RFC 7493 §2.2", member("1e999")),
        ("True", "RFC 8259 §3", member("True")),
        ("a bare control character", STRING, around(b"\x01")),
        ("a bare line break", STRING, around(b"\n")),
        ("an unknown escape", STRING, around(br"\x41")),
        ("a short escape", STRING, around(br"\u12")),
        ("a byte order mark", "RFC 8259 §8.1", format!("\u{feff}{object}").into_bytes()),
        ("UTF-16", "RFC 8259 §8.1", object.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (
            "UTF-16 with a byte order mark",
            "RFC 8259 §8.1",
            format!("\u{feff}{object}").encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ),
        ("UTF-7", "RFC 8259 §8.1", text("+AHs-}")),
        ("Latin-1", UTF8, around(&[0xe9])),
        ("a lone continuation byte", UTF8, around(&[0x80])),
        ("a truncated character", UTF8, around(&[0xe2, 0x82])),
        ("an overlong slash", UTF8, around(&[0xc0, 0xaf])),
        ("an overlong NUL", UTF8, around(&[0xc0, 0x80])),
        ("an overlong slash in three bytes", UTF8, around(&[0xe0, 0x80, 0xaf])),
        ("larger than Unicode", UTF8, around(&[0xf4, 0x90, 0x80, 0x80])),
        ("FF", UTF8, around(&[0xff])),
        ("a surrogate in UTF-8", UTF8, around(&[0xed, 0xa0, 0x80])),
        ("a pair of surrogates in UTF-8", UTF8, around(&[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80])),
        ("a lone high surrogate", SURROGATE, around(br"\ud800")),
        ("a lone low surrogate", SURROGATE, around(br"\udc00")),
        ("surrogates in the wrong order", SURROGATE, around(br"\udc00\ud800")),
        ("a high surrogate and a letter", SURROGATE, around(br"\ud800\u0041")),
        ("a lone surrogate in a name", SURROGATE, format!(r#"{open},"\ud800":1}}"#).into_bytes()),
        ("a lone surrogate deep inside", SURROGATE, member(r#"[{"y":"\udfff"}]"#)),
        ("200 arrays deep", DEPTH, deep("[", "]", 200)),
        ("200 objects deep", DEPTH, deep(r#"{"x":"#, "}", 200)),
        ("1000 arrays deep", DEPTH, deep("[", "]", 1_000)),
        ("5000 arrays deep", DEPTH, deep("[", "]", 5_000)),
        ("5000 arrays that are not closed", DEPTH, format!(r#"{open},"x":{}"#, "[".repeat(5_000)).into_bytes()),
    ]
}

pub fn header_and_payload_are_each_one_json_object(rows: &mut Rows) {
    // Unusual, but valid: escapes, white space, DEL, a pair of surrogates, and 100 levels.
    let unusual = format!(
        "{},\"y\":{}1{} \r\n\t }}",
        ",\"x\":\"\\u0041\\ud83d\\ude00 é€😀\u{7f}\"",
        "[".repeat(100),
        "]".repeat(100)
    );
    let claims = rows.claims().to_string();
    let [good_header, good_payload] =
        [HEADER, &claims].map(|object| object.strip_suffix('}').unwrap().to_owned() + &unusual);
    for (name, source, bytes) in not_one_object(&claims) {
        rows.payload(source, bytes, "bad_json payload", &good_payload).name = format!("payload: {name}");
    }
    for (name, source, bytes) in not_one_object(HEADER) {
        rows.header(source, bytes, "bad_json header", &good_header).name = format!("header: {name}");
    }
}

pub fn a_token_has_three_parts(rows: &mut Rows) {
    let good = rows.good();
    let [h, p, s] = parts(&good);
    let seal = |input: String| keys::main().seal(&input);
    let three = "not_three_parts";
    for (name, attack, reason) in [
        ("a dot", ".".to_owned(), three),
        ("two dots", "..".to_owned(), "bad_json header"),
        ("three dots", "...".to_owned(), three),
        ("three letters", "a.b.c".to_owned(), "bad_base64 header"),
        ("only the header", h.to_owned(), three),
        ("the header and a dot", format!("{h}."), three),
        ("two parts", format!("{h}.{p}"), three),
        ("two parts that are signed", seal(p.to_owned()), three),
        ("no signature", format!("{h}.{p}."), "bad_signature"),
        ("no payload", seal(format!("{h}.")), "bad_json payload"),
        ("a payload that was taken away", format!("{h}..{s}"), "bad_json payload"),
        ("no header", seal(format!(".{p}")), "bad_json header"),
        ("a header that was taken away", format!(".{p}.{s}"), "bad_json header"),
        ("a dot in front", format!(".{good}"), three),
        ("a dot at the end", format!("{good}."), three),
        ("two dots at the end", format!("{good}.."), "encrypted_token"),
        ("four parts", format!("{good}.{s}"), three),
        ("four parts that are signed", seal(format!("{h}.{p}.{p}")), three),
        ("four parts with two headers", format!("{h}.{h}.{p}.{s}"), three),
        ("five parts", format!("{good}.{p}.{s}"), "encrypted_token"),
        ("two tokens", format!("{good}.{good}"), three),
        ("another separator", format!("{h}.{p}~{s}"), three),
        ("an SD-JWT with a disclosure", format!("{good}~{}", encode("[]")), "bad_signature"),
        ("full width dots", format!("{h}．{p}．{s}"), three),
        ("header and payload swapped", format!("{p}.{h}.{s}"), "wrong_algorithm"),
        ("header and payload swapped and signed", seal(format!("{p}.{h}")), "wrong_algorithm"),
        ("a header as its payload", seal(format!("{h}.{h}")), "missing_claim iss"),
    ] {
        rows.token("RFC 7515 §7.1, §5.2 step 1", name, attack, reason, &good);
    }
}

/// A good token of exactly `size` bytes.
fn sized(rows: &Rows, size: usize) -> String {
    // base64 has no text of 4n + 1 digits, so the header is padded, too.
    let of = |header_pad: usize| {
        let header = spliced(&format!(r#""x":"{}""#, "a".repeat(header_pad)), HEADER);
        let claims = |pad: usize| with(&rows.claims(), &json!({ "pad": "a".repeat(pad) })).to_string();
        let room = size - encode(&header).len() - 2 - encode([0; 256]).len();
        let pad = (room * 3 / 4).checked_sub(claims(0).len())?;
        let token = keys::main().sign(header, claims(pad));
        (token.len() == size).then_some(token)
    };
    (0..3).find_map(of).unwrap()
}

pub fn a_token_has_at_most_16_kib(rows: &mut Rows) {
    const SOURCE: &str = "RFC 8725 §3.2; CVE-2025-61920";
    let longest = sized(rows, 16_384);
    for bytes in [16_385, 16_386, 20_000, 65_536, 1_000_000] {
        let (attack, reason) = (sized(rows, bytes), format!("too_long {bytes}"));
        rows.token(SOURCE, format!("{bytes} bytes"), &attack, &reason, &longest);
        let [attack, control] = [&attack, &longest].map(|token| format!("Bearer {token}"));
        rows.token(SOURCE, format!("Bearer and {bytes} bytes"), attack, reason, control);
    }
    for unit in ["x", ".", "é", "[", "\0"] {
        let attack = unit.repeat(100_000);
        let reason = format!("too_long {}", attack.len());
        rows.token(SOURCE, format!("{unit:?} 100,000 times"), attack, reason, &longest);
    }
    let spaces = format!("Bearer{}", " ".repeat(100_000));
    rows.token(SOURCE, "100,000 spaces", spaces, "missing_token", longest);
}
