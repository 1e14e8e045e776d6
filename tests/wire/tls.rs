//! Design 1: `SSL_CERT_FILE` says whom TLS trusts, for Okta and the table alike.

use okta_authorizer_testkit::{
    arn,
    env::Env,
    event,
    keys::{self, jwks},
    now,
    okta::{Okta, Reply},
    runtime_api::{Answer, Authorizer},
    table::{Table, item},
    temp_file::TempFile,
    tls::{Authority, Certificate, TlsFront},
    token::claims_of,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

/// Asks with a good token of the issuer that is behind TLS.
async fn ask(front: &TlsFront, env: &Env) -> Answer {
    let issuer = format!("{}/oauth2/default", front.origin());
    let authorizer = Authorizer::start(&env.clone().with("OKTA_ISSUER", issuer.clone())).await;
    authorizer.invoke(event(&keys::main().token(&claims_of(&issuer)))).await
}

#[tokio::test]
async fn okta_is_trusted_by_the_bundle_and_by_nothing_else() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let (authority, other) = (Authority::new(), Authority::new());
    let bundle = TempFile::new("bundle.pem", &authority.pem);
    let two = TempFile::new("two.pem", format!("{}{}", other.pem, authority.pem));
    let wrong = TempFile::new("wrong.pem", &other.pem);
    let env = Env::okta(&[&okta]);
    let front = TlsFront::start(&authority, Certificate::Good, okta.address).await;
    for bundle in [&bundle, &two] {
        let answer = ask(&front, &env.clone().with("SSL_CERT_FILE", bundle.path())).await;
        assert!(answer.allows(&arn("GET /apps")), "{answer:?}");
    }
    assert_eq!(okta.requests(), 2);

    let answer = ask(&front, &env).await;
    assert!(answer.is_fault(), "with the built-in roots: {answer:?}");
    let answer = ask(&front, &env.clone().with("SSL_CERT_FILE", wrong.path())).await;
    assert!(answer.is_fault(), "with the roots of another: {answer:?}");
    for certificate in [Certificate::OfAnotherName, Certificate::Expired] {
        let front = TlsFront::start(&authority, certificate, okta.address).await;
        let answer = ask(&front, &env.clone().with("SSL_CERT_FILE", bundle.path())).await;
        assert!(answer.is_fault(), "{certificate:?}: {answer:?}");
    }
    assert_eq!(okta.requests(), 2, "nothing was asked of whom we do not trust");
}

#[tokio::test]
async fn the_table_is_trusted_by_the_same_bundle() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let authority = Authority::new();
    let bundle = TempFile::new("bundle.pem", &authority.pem);
    let front = TlsFront::start(&authority, Certificate::Good, table.address).await;
    let env = Env::okta(&[&okta]).table(&front.origin());
    let good = event(&keys::main().token(&claims_of(&okta.issuer())));

    let trusting = Authorizer::start(&env.clone().with("SSL_CERT_FILE", bundle.path())).await;
    assert!(trusting.invoke(good.clone()).await.allows(&arn("GET /apps")));
    assert_eq!(okta.requests(), 0, "the keys were in the table");

    let distrusting = Authorizer::start(&env).await;
    assert!(distrusting.invoke(good).await.allows(&arn("GET /apps")));
    assert_eq!(okta.requests(), 1, "a table that is not trusted is done without");
}

#[tokio::test]
async fn a_bundle_that_is_none_stops_the_process_with_one_line() {
    let env = Env::pinned(&jwks(&[keys::main()]));
    let authority = Authority::new();
    let good = TempFile::new("bundle.pem", &authority.pem);
    Authorizer::start(&env.clone().with("SSL_CERT_FILE", good.path())).await;
    let pem = authority.pem.replace('\n', "");
    for text in ["", "nonsense", pem.as_str(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let file = TempFile::new("bad.pem", text);
        let ended = Authorizer::refuse(&env.clone().with("SSL_CERT_FILE", file.path())).await;
        let ended = ended.unwrap_or_else(|output| panic!("{text:?} was accepted: {output:?}"));
        assert!(!ended.status.success(), "{text:?}");
        let [line] = &ended.lines[..] else { panic!("one line: {:#?}", ended.lines) };
        assert!(line.contains("SSL_CERT_FILE") && !line.contains("panicked"), "{line}");
    }
    let ended = Authorizer::refuse(&env.with("SSL_CERT_FILE", "/there/is/none.pem")).await;
    let ended = ended.unwrap_or_else(|output| panic!("a missing file was accepted: {output:?}"));
    assert!(ended.lines.len() == 1 && ended.lines[0].contains("SSL_CERT_FILE"), "{:?}", ended.lines);
}

/// The TLS record that whoever connects begins with (RFC 8446 §5.1).
async fn client_hello(listener: &TcpListener) -> Vec<u8> {
    let mut stream: TcpStream = listener.accept().await.unwrap().0;
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], 22, "a handshake");
    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut record).await.unwrap();
    record
}

#[tokio::test]
async fn okta_and_the_table_are_offered_post_quantum_keys_and_http_1_1() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let of_okta = Env::okta(&[&okta]).with("OKTA_ISSUER", format!("{endpoint}/oauth2/default"));
    for env in [of_okta, Env::okta(&[&okta]).table(&endpoint)] {
        let (hello, _authorizer) = tokio::join!(client_hello(&listener), Authorizer::start(&env));
        assert!(hello.windows(9).any(|bytes| bytes == b"\x08http/1.1"), "ALPN, RFC 7301");
        // X25519MLKEM768's number, and the length of its share: draft-ietf-tls-ecdhe-mlkem.
        assert!(hello.windows(4).any(|bytes| bytes == [0x11, 0xec, 0x04, 0xc0]), "{} bytes", hello.len());
    }
}

#[tokio::test]
async fn a_proxy_holds_for_okta_and_not_for_the_table() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let proxy = Okta::start(Reply::text("")).await;
    let env = Env::okta(&[&okta]).with("HTTP_PROXY", format!("http://{}", proxy.address));
    let good = event(&keys::main().token(&claims_of(&okta.issuer())));

    let with_table = Authorizer::start(&env.clone().table(&table.endpoint)).await;
    assert!(with_table.invoke(good.clone()).await.allows(&arn("GET /apps")));
    assert_eq!((proxy.unexpected_requests(), okta.requests()), (0, 0), "the keys were in the table");

    let without = Authorizer::start(&env).await;
    assert!(without.invoke(good).await.is_fault(), "this proxy knows no way");
    assert!(proxy.unexpected_requests() > 0 && okta.requests() == 0);
}
