//! Encodings: base64url, UTF-8, JSON, depth and size.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use okta_authorizer::token::Refusal;
use serde_json::json;

use crate::{
    table::{HEADER, NOW, Row, authorizer, decide, event, good, good_claims, hold, said, spliced, with},
    test_keys::{self, encode},
};

const BAD_HEADER: Refusal = Refusal::BadBase64 { part: "header" };
const BAD_PAYLOAD: Refusal = Refusal::BadBase64 { part: "payload" };

/// `text`, an object, padded so that its length is one over a multiple of three: base64 would pad it with `==`, and the last
/// digit has four bits to spare.
fn one_over(text: &str) -> String {
    let padded = (0..3).map(|pad| spliced(&format!(r#""pad":"?>?>{}""#, "a".repeat(pad)), text));
    padded.into_iter().find(|text| text.len() % 3 == 1).unwrap()
}

/// The same bytes to a decoder that does not look at the spare bits of the last digit.
fn smudged(digits: &str, by: usize) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = digits.split_at(digits.len() - 1);
    let at = ALPHABET.find(last).unwrap() + by;
    format!("{rest}{}", &ALPHABET[at..=at])
}

#[test]
pub fn base64url_is_unpadded_canonical_and_of_its_own_alphabet() {
    const ALPHABET: &str = "RFC 7515 §2; RFC 4648 §5";
    const PADDING: &str = "RFC 7515 §2: no padding; RFC 4648 §3.2";
    const SPARE: &str = "RFC 4648 §3.5: pad bits are zero";
    const OTHERS: &str = "RFC 7515 §2; RFC 4648 §3.3: no other characters";
    let (header, payload) = (one_over(HEADER), one_over(&good_claims().to_string()));
    let (h, p) = (encode(&header), encode(&payload));
    let twin = test_keys::main().sign(&header, &payload);
    let signature = twin.rsplit('.').next().unwrap();
    let standard = |digits: &str| digits.replace('-', "+").replace('_', "/");
    let mixed =
        |digits: &str| if digits.contains('-') { digits.replacen('-', "+", 1) } else { digits.replacen('_', "/", 1) };
    assert!(standard(&h) != h && standard(&p) != p && standard(signature) != signature, "a test of nothing");

    let seal = |input: String| test_keys::main().seal(&input);
    let mut rows = Vec::new();
    let mut row = |source, name: &str, bad, refusal| rows.push(Row::new(source, name, bad, refusal, twin.clone()));

    row(PADDING, "a padded header", seal(format!("{h}==.{p}")), BAD_HEADER);
    row(PADDING, "a half padded header", seal(format!("{h}=.{p}")), BAD_HEADER);
    row(PADDING, "a padded payload", seal(format!("{h}.{p}==")), BAD_PAYLOAD);
    row(PADDING, "a half padded payload", seal(format!("{h}.{p}=")), BAD_PAYLOAD);
    row(PADDING, "percent-encoded padding", seal(format!("{h}.{p}%3D%3D")), BAD_PAYLOAD);
    row(PADDING, "a padded signature", format!("{twin}=="), Refusal::BadSignature);
    row(PADDING, "a half padded signature", format!("{twin}="), Refusal::BadSignature);

    row(ALPHABET, "the standard alphabet in the header", seal(format!("{}.{p}", standard(&h))), BAD_HEADER);
    row(ALPHABET, "the standard alphabet in the payload", seal(format!("{h}.{}", standard(&p))), BAD_PAYLOAD);
    row(
        ALPHABET,
        "the standard alphabet in the signature",
        format!("{h}.{p}.{}", standard(signature)),
        Refusal::BadSignature,
    );
    row(ALPHABET, "both alphabets in the payload", seal(format!("{h}.{}", mixed(&p))), BAD_PAYLOAD);
    let plain = format!("{}.{}", STANDARD.encode(&header), STANDARD.encode(&payload));
    row(ALPHABET, "standard base64 throughout", seal(plain), BAD_HEADER);

    for by in [1, 5, 15] {
        row(SPARE, "spare bits in the header", seal(format!("{}.{p}", smudged(&h, by))), BAD_HEADER);
        row(SPARE, "spare bits in the payload", seal(format!("{h}.{}", smudged(&p, by))), BAD_PAYLOAD);
        let bad = format!("{h}.{p}.{}", smudged(signature, by));
        assert_ne!(URL_SAFE_NO_PAD.decode(&bad[h.len() + p.len() + 2..]).ok(), URL_SAFE_NO_PAD.decode(signature).ok());
        row(SPARE, "spare bits in the signature", bad, Refusal::BadSignature);
    }
    row(
        "RFC 4648 §4",
        "one digit too many in the header",
        seal(format!("{}A.{p}", encode(format!("{header}  ")))),
        BAD_HEADER,
    );
    row("RFC 4648 §4", "one digit too many in the signature", format!("{twin}A"), Refusal::BadSignature);

    for other in ["\n", "\r\n", "\t", "\0", "=", "%", "ü", "\u{200b}", "，", "\\u0041", "*", "\u{7f}"] {
        let broken = |digits: &str| format!("{}{other}{}", &digits[..8], &digits[8..]);
        row(OTHERS, &format!("{other:?} in the header"), seal(format!("{}.{p}", broken(&h))), BAD_HEADER);
        row(OTHERS, &format!("{other:?} in the payload"), seal(format!("{h}.{}", broken(&p))), BAD_PAYLOAD);
        let bad = format!("{h}.{p}.{}", broken(signature));
        row(OTHERS, &format!("{other:?} in the signature"), bad, Refusal::BadSignature);
        let bad = format!("{h}.{p}.{signature}{other}");
        row(OTHERS, &format!("{other:?} behind the signature"), bad, Refusal::BadSignature);
    }
    hold(&authorizer(), rows);
}

/// Texts around `object` that are not exactly one JSON object in UTF-8, and why.
fn not_one_object(object: &str) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    const JSON: &str = "RFC 8259 §2";
    const UTF8: &str = "RFC 8259 §8.1; RFC 3629 §3";
    let open = object.strip_suffix('}').unwrap();
    let around = |bytes: &[u8]| [open.as_bytes(), br#","x":""#, bytes, br#""}"#].concat();
    let deep = |open_by: &str, close: &str, depth: usize| {
        format!(r#"{open},"x":{}1{}}}"#, open_by.repeat(depth), close.repeat(depth)).into_bytes()
    };
    vec![
        ("nothing", JSON, Vec::new()),
        ("a space", JSON, b" ".to_vec()),
        ("an array of the object", "RFC 7519 §7.2 step 10", format!("[{object}]").into_bytes()),
        ("an array of values", "RFC 7519 §7.2 step 10", br#"["RS256","main"]"#.to_vec()),
        ("the object as a string", "RFC 7519 §7.2 step 10", json!(object).to_string().into_bytes()),
        ("a number", "RFC 7519 §7.2 step 10", b"5".to_vec()),
        ("null", "RFC 7519 §7.2 step 10", b"null".to_vec()),
        ("true", "RFC 7519 §7.2 step 10", b"true".to_vec()),
        ("not closed", JSON, open.as_bytes().to_vec()),
        ("closed twice", JSON, format!("{object}}}").into_bytes()),
        ("two objects", JSON, format!("{object}{object}").into_bytes()),
        ("two lines of objects", JSON, format!("{object}\n{object}").into_bytes()),
        ("a letter behind it", JSON, format!("{object}x").into_bytes()),
        ("a NUL behind it", JSON, format!("{object}\0").into_bytes()),
        ("a NUL in front", JSON, format!("\0{object}").into_bytes()),
        ("a form feed in front", JSON, format!("\u{c}{object}").into_bytes()),
        ("a no-break space in front", JSON, format!("\u{a0}{object}").into_bytes()),
        ("a comma before its end", JSON, format!("{open},}}").into_bytes()),
        ("a comment", JSON, format!("{open}/**/}}").into_bytes()),
        ("a comment behind it", JSON, format!("{object}//").into_bytes()),
        ("single quotes", "RFC 8259 §7", object.replace('"', "'").into_bytes()),
        ("a name without quotes", "RFC 8259 §4", format!("{open},x:1}}").into_bytes()),
        ("a prefix against scripts", JSON, format!(")]}}'\n{object}").into_bytes()),
        ("a leading zero", "RFC 8259 §6", format!(r#"{open},"x":01}}"#).into_bytes()),
        ("NaN", "RFC 8259 §6", format!(r#"{open},"x":NaN}}"#).into_bytes()),
        ("a number beyond doubles", "RFC 8259 §6; RFC 7493 §2.2", format!(r#"{open},"x":1e999}}"#).into_bytes()),
        ("True", "RFC 8259 §3", format!(r#"{open},"x":True}}"#).into_bytes()),
        ("a bare control character", "RFC 8259 §7", around(b"\x01")),
        ("a bare line break", "RFC 8259 §7", around(b"\n")),
        ("an escape that JSON does not know", "RFC 8259 §7", around(br"\x41")),
        ("a short escape", "RFC 8259 §7", around(br"\u12")),
        ("a byte order mark", "RFC 8259 §8.1", format!("\u{feff}{object}").into_bytes()),
        ("UTF-16", "RFC 8259 §8.1", object.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (
            "UTF-16 with its mark",
            "RFC 8259 §8.1",
            "\u{feff}".encode_utf16().chain(object.encode_utf16()).flat_map(u16::to_be_bytes).collect(),
        ),
        ("UTF-7", "RFC 8259 §8.1", b"+AHs-}".to_vec()),
        ("Latin-1", UTF8, around(&[0xe9])),
        ("a lone continuation", UTF8, around(&[0x80])),
        ("a character cut off", UTF8, around(&[0xe2, 0x82])),
        ("an overlong slash", UTF8, around(&[0xc0, 0xaf])),
        ("an overlong NUL", UTF8, around(&[0xc0, 0x80])),
        ("an overlong slash in three bytes", UTF8, around(&[0xe0, 0x80, 0xaf])),
        ("beyond Unicode", UTF8, around(&[0xf4, 0x90, 0x80, 0x80])),
        ("FF", UTF8, around(&[0xff])),
        ("a surrogate in UTF-8", UTF8, around(&[0xed, 0xa0, 0x80])),
        ("a pair of surrogates in UTF-8", UTF8, around(&[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80])),
        ("a lone high surrogate", "RFC 8259 §8.2; RFC 7493 §2.1", around(br"\ud800")),
        ("a lone low surrogate", "RFC 8259 §8.2; RFC 7493 §2.1", around(br"\udc00")),
        ("surrogates the wrong way round", "RFC 8259 §8.2; RFC 7493 §2.1", around(br"\udc00\ud800")),
        ("a high surrogate and a letter", "RFC 8259 §8.2; RFC 7493 §2.1", around(br"\ud800\u0041")),
        ("a lone surrogate in a name", "RFC 8259 §8.2; RFC 7493 §2.1", format!(r#"{open},"\ud800":1}}"#).into_bytes()),
        (
            "a lone surrogate deep inside",
            "RFC 8259 §8.2; RFC 7493 §2.1",
            format!(r#"{open},"x":[{{"y":"\udfff"}}]}}"#).into_bytes(),
        ),
        ("200 arrays deep", "RFC 8259 §9: a limit on depth", deep("[", "]", 200)),
        ("200 objects deep", "RFC 8259 §9: a limit on depth", deep(r#"{"x":"#, "}", 200)),
        ("5000 arrays deep", "RFC 8259 §9: a limit on depth", deep("[", "]", 5_000)),
        (
            "5000 arrays that never close",
            "RFC 8259 §9: a limit on depth",
            format!(r#"{open},"x":{}"#, "[".repeat(5_000)).into_bytes(),
        ),
    ]
}

#[test]
pub fn header_and_payload_are_each_one_json_object_in_utf_8() {
    let claims = good_claims().to_string();
    // What is odd and good: escapes, white space, DEL, a pair of surrogates, depth in reason.
    let odd = r#","x":"\u0041\ud83d\ude00 é€😀"#.to_owned() + "\u{7f}\",\"y\":[[[[[[[[[[{}]]]]]]]]]] \r\n\t }";
    let twin_payload = claims.strip_suffix('}').unwrap().to_owned() + &odd;
    let twin_header = HEADER.strip_suffix('}').unwrap().to_owned() + &odd;
    let mut rows = Vec::new();
    for (name, source, bytes) in not_one_object(&claims) {
        let mut row = Row::payload(source, bytes, Refusal::BadJson { part: "payload" }, &twin_payload);
        row.name = format!("payload: {name}");
        rows.push(row);
    }
    for (name, source, bytes) in not_one_object(HEADER) {
        let mut row = Row::header(source, bytes, Refusal::BadJson { part: "header" }, &twin_header);
        row.name = format!("header: {name}");
        rows.push(row);
    }
    hold(&authorizer(), rows);
}

#[test]
pub fn a_token_has_three_parts_that_are_not_empty() {
    let twin = good();
    let [h, p, s]: [&str; 3] = twin.split('.').collect::<Vec<_>>().try_into().unwrap();
    let seal = |input: String| test_keys::main().seal(&input);
    let three = Refusal::NotThreeParts;
    let no_header = Refusal::BadJson { part: "header" };
    let rows = [
        ("a dot", ".".to_owned(), three.clone()),
        ("two dots", "..".to_owned(), no_header.clone()),
        ("three dots", "...".to_owned(), three.clone()),
        ("the header alone", h.to_owned(), three.clone()),
        ("two parts", format!("{h}.{p}"), three.clone()),
        ("no signature", format!("{h}.{p}."), Refusal::BadSignature),
        ("no payload", seal(format!("{h}.")), Refusal::BadJson { part: "payload" }),
        ("no header", seal(format!(".{p}")), no_header.clone()),
        ("a dot in front", format!(".{twin}"), three.clone()),
        ("a dot behind", format!("{twin}."), three.clone()),
        ("four parts", format!("{twin}.{s}"), three.clone()),
        ("four parts that are signed", seal(format!("{h}.{p}.{p}")), three.clone()),
        ("a second token behind", format!("{twin}.{twin}"), three.clone()),
        ("another separator", format!("{h}.{p}~{s}"), three.clone()),
        ("a disclosure behind, as SD-JWT has it", format!("{twin}~{}", encode("[]")), Refusal::BadSignature),
        ("a full width dot", format!("{h}．{p}．{s}"), three.clone()),
        ("header and payload swapped", seal(format!("{p}.{h}")), Refusal::WrongAlgorithm),
        ("a header as its payload", seal(format!("{h}.{h}")), Refusal::MissingClaim { claim: "iss" }),
    ];
    let rows =
        rows.map(|(name, bad, refusal)| Row::new("RFC 7515 §7.1, §5.2 step 1", name, bad, refusal, twin.clone()));
    hold(&authorizer(), rows.into());
}

/// A good token of exactly `size` bytes.
fn sized(size: usize) -> String {
    // Base64 knows no length of 4n + 1, so the header has to give way too.
    let of = |header_pad: usize| {
        let header = spliced(&format!(r#""x":"{}""#, "a".repeat(header_pad)), HEADER);
        let members = |pad: usize| with(&good_claims(), &json!({ "pad": "a".repeat(pad) })).to_string();
        let room = size - encode(&header).len() - 2 - encode([0; 256]).len();
        let pad = (room * 3 / 4).checked_sub(members(0).len())?;
        let token = test_keys::main().sign(header, members(pad));
        (token.len() == size).then_some(token)
    };
    (0..3).find_map(of).unwrap()
}

#[test]
pub fn a_token_is_at_most_16_kib() {
    const SOURCE: &str = "RFC 8725 §3.2 and design 3; CVE-2025-61920";
    let longest = sized(16_384);
    let mut rows = Vec::new();
    for bytes in [16_385, 16_386, 20_000, 65_536, 1_000_000] {
        let (bad, refusal) = (sized(bytes), Refusal::TooLong { bytes });
        rows.push(Row::new(SOURCE, format!("{bytes} bytes"), bad.clone(), refusal.clone(), longest.clone()));
        let scheme = |token: &str| format!("Bearer {token}");
        rows.push(Row::new(SOURCE, format!("Bearer and {bytes} bytes"), scheme(&bad), refusal, scheme(&longest)));
    }
    let nothing = ["x", ".", "é", "[", "\0"].map(|unit| {
        let bad = unit.repeat(100_000);
        let refusal = Refusal::TooLong { bytes: bad.len() };
        Row::new(SOURCE, format!("{unit:?} 100,000 times"), bad, refusal, longest.clone())
    });
    rows.extend(nothing);
    hold(&authorizer(), rows);
}

#[test]
fn a_bit_more_or_less_anywhere_is_another_token() {
    let good = good();
    let authorizer = authorizer();
    let mut wrong = Vec::new();
    for at in 0..good.len() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            // The gateway passes text on; every flip of a low bit is ASCII.
            let token = String::from_utf8(bytes).unwrap();
            let outcome = decide(&authorizer, &event(&token), NOW).outcome;
            if !matches!(outcome, okta_authorizer::decision::Outcome::Refused(_)) {
                wrong.push(format!("bit {bit} at {at}: {}", said(&outcome)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
