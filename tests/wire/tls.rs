//! TLS to Okta and to the table. `SSL_CERT_FILE` replaces the built-in trust anchors for both.

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

/// The answer to a valid token of the issuer at this TLS server.
async fn answer_over(front: &TlsFront, env: &Env) -> Answer {
    let issuer = format!("{}/oauth2/default", front.origin());
    let authorizer = Authorizer::start(&env.clone().with("OKTA_ISSUER", issuer.clone())).await;
    authorizer.invoke(event(&keys::main().token(&claims_of(&issuer)))).await
}

#[tokio::test]
async fn only_an_okta_that_the_bundle_trusts_gets_a_request() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let (authority, other) = (Authority::new(), Authority::new());
    let bundle = TempFile::new("bundle.pem", &authority.pem);
    let two = TempFile::new("two.pem", format!("{}{}", other.pem, authority.pem));
    let untrusting = TempFile::new("other.pem", &other.pem);
    let env = Env::okta(&[&okta]);
    let front = TlsFront::start(&authority, Certificate::Good, okta.address).await;
    for bundle in [&bundle, &two] {
        let answer = answer_over(&front, &env.clone().with("SSL_CERT_FILE", bundle.path())).await;
        assert!(answer.allows(&arn("GET /apps")), "{answer:?}");
    }
    assert_eq!(okta.requests(), 2);

    let answer = answer_over(&front, &env).await;
    assert!(answer.is_fault(), "with the built-in trust anchors: {answer:?}");
    let answer = answer_over(&front, &env.clone().with("SSL_CERT_FILE", untrusting.path())).await;
    assert!(answer.is_fault(), "with another authority: {answer:?}");
    assert_eq!(okta.requests(), 2, "no request without trust");
}

#[tokio::test]
async fn only_a_table_that_the_bundle_trusts_is_used() {
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
    assert_eq!(okta.requests(), 1, "without trust in the table, the keys are from Okta");
}

#[tokio::test]
async fn an_invalid_bundle_stops_the_process_with_one_line() {
    let env = Env::pinned(&jwks(&[keys::main()]));
    let authority = Authority::new();
    let good = TempFile::new("bundle.pem", &authority.pem);
    Authorizer::start(&env.clone().with("SSL_CERT_FILE", good.path())).await;
    let pem = authority.pem.replace('\n', "");
    for text in ["", "nonsense", pem.as_str(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let file = TempFile::new("bad.pem", text);
        let line = Authorizer::rejection(&env.clone().with("SSL_CERT_FILE", file.path())).await;
        assert!(line.contains("SSL_CERT_FILE"), "{text:?}: {line}");
    }
    let line = Authorizer::rejection(&env.with("SSL_CERT_FILE", "/does/not/exist.pem")).await;
    assert!(line.contains("SSL_CERT_FILE"), "{line}");
}

/// The first TLS record of the next client (RFC 8446, section 5.1).
async fn client_hello(listener: &TcpListener) -> Vec<u8> {
    let mut stream: TcpStream = listener.accept().await.unwrap().0;
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], 22, "the record is a handshake");
    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut record).await.unwrap();
    record
}

#[tokio::test]
async fn the_client_offers_post_quantum_keys_and_http_1_1() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let of_okta = Env::okta(&[&okta]).with("OKTA_ISSUER", format!("{endpoint}/oauth2/default"));
    for env in [of_okta, Env::okta(&[&okta]).table(&endpoint)] {
        let (hello, _authorizer) = tokio::join!(client_hello(&listener), Authorizer::start(&env));
        assert!(hello.windows(9).any(|bytes| bytes == b"\x08http/1.1"), "ALPN, RFC 7301");
        // The number of X25519MLKEM768 and the length of its key share: draft-ietf-tls-ecdhe-mlkem.
        assert!(hello.windows(4).any(|bytes| bytes == [0x11, 0xec, 0x04, 0xc0]), "{} bytes", hello.len());
    }
}

#[tokio::test]
async fn a_proxy_is_used_for_okta_and_not_for_the_table() {
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
    assert!(without.invoke(good).await.is_fault(), "this proxy forwards nothing");
    assert!(proxy.unexpected_requests() > 0 && okta.requests() == 0);
}
