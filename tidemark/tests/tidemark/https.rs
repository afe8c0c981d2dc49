//! The commands that talk to a server, when it speaks TLS by a private CA.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519};
use tempfile::TempDir;
use testkit::NatsServer;

use crate::{
    messages::is_one_message,
    process::{Tidemark, good, tidemark},
};

const COUNT: &str = "SELECT count(*) FROM events";

/// A private CA and what it has signed, as files. All of them have the same name, as those that people make by one recipe.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::with(KeyPair::generate().unwrap())
    }

    fn with(key: KeyPair) -> Self {
        let folder = TempDir::new().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(folder.path().join("ca-key.pem"), key.serialize_pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The setting by which a client trusts it.
    fn trusted(&self) -> String {
        format!("client.ca={}", self.file("ca.pem").display())
    }

    /// A server whose certificate is for this host, and the settings of that certificate.
    async fn certify(&self, nats: &NatsServer, host: &str) -> Tidemark {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file("key.pem"), key.serialize_pem()).unwrap();
        fs::write(self.file("certificate.pem"), certificate.pem()).unwrap();
        self.serve(nats, "certificate.pem", "key.pem").await
    }

    async fn serve(&self, nats: &NatsServer, certificate: &str, key: &str) -> Tidemark {
        let settings = [("certificate", certificate), ("key", key)].map(|(name, file)| format!("tls.{name}={}", self.file(file).display()));
        Tidemark::start_with_settings(nats, &settings.each_ref().map(String::as_str)).await
    }
}

/// The address of a server under another scheme and host.
fn at(server: &Tidemark, scheme: &str, host: &str) -> String {
    format!("{scheme}://{host}:{}", server.url.rsplit_once(':').unwrap().1)
}

#[tokio::test]
async fn commands_speak_https_when_the_ca_is_named_in_a_flag_or_in_the_environment() {
    let (nats, authority) = (NatsServer::start().await, Authority::new());
    let server = authority.certify(&nats, "localhost").await;
    let (url, ca) = (at(&server, "https", "localhost"), authority.trusted());
    let ask = |arguments: &[&str]| good(&tidemark(arguments).args(["--set", &ca]).output().unwrap());
    assert!(ask(&["health", "--url", &format!("{url}/readyz")]).contains("\"status\":\"ready\""));
    assert!(ask(&["demo", "--url", &url, "--events", "1000", "--seed", "1"]).contains("1,000 events acknowledged"));
    assert!(ask(&["sql", "--url", &url, "--format", "csv", COUNT]).ends_with("1000\n"));
    assert!(ask(&["quarantine", "replay", "--url", &url]).starts_with("0 records"));
    let mut by_environment = tidemark(&["sql", "--url", &url, "--format", "csv", COUNT]);
    by_environment.env("TIDEMARK__CLIENT__CA", authority.file("ca.pem"));
    assert!(good(&by_environment.output().unwrap()).ends_with("1000\n"));
}

#[tokio::test]
async fn without_an_address_commands_ask_the_server_of_the_same_settings_by_https() {
    let (nats, authority) = (NatsServer::start().await, Authority::new());
    let server = authority.certify(&nats, "127.0.0.1").await;
    let ca = authority.trusted();
    for arguments in [&["health"][..], &["sql", COUNT], &["demo", "--events", "10"]] {
        good(&server.command(arguments).args(["--set", &ca]).output().unwrap());
        is_one_message(&mut server.command(arguments), &["`https://127.0.0.1:", "nobody that this machine trusts", "`client.ca`"]);
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_one_message_that_names_the_setting() {
    let (nats, authority, other) = (NatsServer::start().await, Authority::new(), Authority::new());
    let another_kind = Authority::with(KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let server = authority.certify(&nats, "localhost").await;
    let (url, wrong_host) = (at(&server, "https", "localhost"), at(&server, "https", "127.0.0.1"));
    let commands = |url: &str| -> [Vec<String>; 4] {
        let health = format!("{url}/readyz");
        [&["health", "--url", &health][..], &["demo", "--url", url], &["sql", "--url", url, COUNT], &["quarantine", "replay", "--url", url]]
            .map(|arguments| arguments.iter().map(ToString::to_string).collect())
    };
    let fails = |url: &str, ca: Option<&str>, parts: &[&str]| {
        for arguments in commands(url) {
            let mut command = tidemark(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            is_one_message(command.args(ca.iter().flat_map(|ca| ["--set", *ca])), parts);
        }
    };
    fails(&url, None, &[&url, "nobody that this machine trusts", "--set client.ca=ca.pem"]);
    for wrong in [other, another_kind] {
        fails(&url, Some(&wrong.trusted()), &[&url, "nobody that this machine trusts", "`client.ca`"]);
    }
    fails(&wrong_host, Some(&authority.trusted()), &[&wrong_host, "for another host", "`client.ca`", "localhost", "--url"]);
    fails(&at(&server, "http", "localhost"), Some(&authority.trusted()), &["http://localhost", "does not answer in HTTP", "`https://`"]);
    let plain = server.admin_url.replace("http://", "https://");
    fails(&plain, Some(&authority.trusted()), &[&plain, "does not speak TLS", "`http://`"]);
}

#[tokio::test]
async fn a_certificate_that_was_made_as_that_of_a_ca_is_told_as_such() {
    let (nats, authority) = (NatsServer::start().await, Authority::new());
    let server = authority.serve(&nats, "ca.pem", "ca-key.pem").await;
    let set = authority.trusted();
    is_one_message(
        &mut tidemark(&["sql", "--url", &at(&server, "https", "localhost"), COUNT, "--set", &set]),
        &["as that of a CA", "basicConstraints=CA:FALSE", "`client.ca`"],
    );
}

#[test]
fn a_ca_that_cannot_be_read_is_named_with_its_setting() {
    let folder = TempDir::new().unwrap();
    let [missing, empty] = ["missing.pem", "empty.pem"].map(|name| folder.path().join(name).display().to_string());
    fs::write(&empty, "no certificate").unwrap();
    for (file, reason) in [(missing, "No such file"), (empty, "holds no certificate in PEM")] {
        let set = format!("client.ca={file}");
        is_one_message(&mut tidemark(&["sql", COUNT, "--set", &set]), &[&format!("`{file}`, which `client.ca` names"), reason]);
    }
}
