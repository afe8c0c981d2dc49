//! TLS: both protocols, a deadline for the handshake, a certificate that changes.

use std::{fs, time::Duration};

use axum::{Router, routing::get};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, Version};
use service::{
    http::{Limits, Tls, TlsConfig, layers},
    settings::Interval,
    tasks::Stop,
    telemetry,
};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::{SOON, TestServer, patient};

/// A new certificate in the two files.
fn certify(config: &TlsConfig) -> Certificate {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(&config.key, signing_key.serialize_pem()).unwrap();
    fs::write(&config.certificate, cert.pem()).unwrap();
    Certificate::from_pem(cert.pem().as_bytes()).unwrap()
}

fn config(folder: &TempDir) -> TlsConfig {
    telemetry::install_crypto();
    TlsConfig { certificate: folder.path().join("certificate.pem"), key: folder.path().join("key.pem"), internal: false }
}

async fn start(tls: &Tls, limits: Limits) -> TestServer {
    TestServer::start_with(layers(Router::new().route("/ok", get(|| async { "ok" })), None, None), limits, Some(tls.clone())).await
}

/// By a new client, which has no session to resume and trusts this certificate alone.
async fn ask(trusted: &Certificate, server: &TestServer) -> reqwest::Result<(Version, String)> {
    let client = Client::builder().tls_built_in_root_certs(false).add_root_certificate(trusted.clone()).build()?;
    let answer = client.get(format!("https://{}/ok", server.address())).send().await?;
    Ok((answer.version(), answer.text().await?))
}

#[tokio::test]
async fn https_is_spoken_and_a_changed_certificate_is_used_without_a_restart() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let first = certify(&config);
    let tls = Tls::open(config.clone()).unwrap().unwrap();
    let server = start(&tls, patient()).await;
    let (watching, stop) = Stop::pair();
    let watch = tokio::spawn(tls.watch(stop));
    assert_eq!(ask(&first, &server).await.unwrap().1, "ok");

    let second = certify(&config);
    let is_changed = async || ask(&second, &server).await.is_ok().then_some(());
    testkit::until("the new certificate", SOON, is_changed).await;
    assert!(ask(&first, &server).await.is_err());
    watching.stop();
    watch.await.unwrap().unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_is_closed() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let trusted = certify(&config);
    let tls = Tls::open(config).unwrap().unwrap();
    let server = start(&tls, Limits { header_timeout: Interval(Duration::from_millis(500)), ..patient() }).await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    let mut nothing = Vec::new();
    timeout(SOON, silent.read_to_end(&mut nothing)).await.expect("the server closes it").unwrap();
    assert_eq!(ask(&trusted, &server).await.unwrap().1, "ok");
    server.stop().await.unwrap();
}

#[test]
fn files_that_are_missing_half_or_of_two_certificates_are_refused_with_the_setting() {
    let folder = TempDir::new().unwrap();
    let good = config(&folder);
    let refused = |config: TlsConfig| Tls::open(config).unwrap_err().to_string();
    assert!(refused(good.clone()).ends_with("certificate.pem`, which `tls.certificate` names"));
    assert_eq!(refused(TlsConfig { key: "".into(), ..good.clone() }), "`tls.certificate` and `tls.key` belong together; set both or none");
    certify(&good);
    let other = TlsConfig { certificate: folder.path().join("other.pem"), key: folder.path().join("other-key.pem"), internal: false };
    certify(&other);
    assert!(refused(TlsConfig { key: other.key, ..good }).contains("cannot be used together"));
    assert!(Tls::open(TlsConfig { certificate: "".into(), key: "".into(), internal: false }).unwrap().is_none());
}
