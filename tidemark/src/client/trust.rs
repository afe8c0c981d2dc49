//! Whose certificates a client trusts, and what a person is told when a server's certificate is none of them.

use std::{error::Error, fs, io, path::Path};

use anyhow::{Context, ensure};
use reqwest::Certificate;
use rustls::{CertificateError, Error as TlsError};

/// How rustls names a certificate of a CA that a server uses as its own; it has no variant for it.
const CA_USED_AS_SERVER: &str = "CaUsedAsEndEntity";

/// The certificates in the file of `client.ca`; none when it is not set.
///
/// # Errors
/// When the file cannot be read, or holds no certificate.
pub(super) fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    if path.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let pem = fs::read(path).with_context(|| format!("cannot read `{}`, which `client.ca` names", path.display()))?;
    let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    ensure!(!certificates.is_empty(), "`{}`, which `client.ca` names, holds no certificate in PEM", path.display());
    Ok(certificates)
}

/// Why TLS with a server did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Distrust {
    /// Trust its CA, if it is the right server.
    #[error(
        "the certificate of `{url}` is signed by nobody that this machine trusts; name the PEM file of its CA with the setting \
         `client.ca`, for example `--set client.ca=ca.pem`"
    )]
    Signer { url: String },
    /// Use a name of the server that its certificate has.
    #[error("the certificate of `{url}` is trusted (setting `client.ca`) and for another host; name an address that is in it with `--url`")]
    Host { url: String, source: TlsError },
    /// Give the server a certificate of its own.
    #[error(
        "the certificate of `{url}` was made as that of a CA, which no server may use; sign one for the server with it, or make one with \
         `basicConstraints=CA:FALSE`, and name its file with the setting `client.ca`"
    )]
    OfCa { url: String },
    /// Give the server another certificate.
    #[error("the certificate of `{url}` cannot be used, whether `client.ca` names its CA or not")]
    Certificate { url: String, source: TlsError },
    /// Say `http://`, or look at what listens there.
    #[error("`{url}` does not speak TLS as this client does; perhaps it is `http://`")]
    Protocol { url: String, source: TlsError },
}

impl Distrust {
    /// What a fault of TLS with the server at `url` means.
    pub(super) fn of(source: TlsError, url: String) -> Self {
        use CertificateError::{
            BadSignature, NotValidForName, NotValidForNameContext, Other, UnknownIssuer, UnsupportedSignatureAlgorithmForPublicKeyContext,
        };
        let TlsError::InvalidCertificate(fault) = &source else { return Self::Protocol { url, source } };
        match fault {
            // A CA that has the name of the right one, and another key, makes a bad signature, or none of its kind of key.
            UnknownIssuer | BadSignature | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::Signer { url },
            NotValidForName | NotValidForNameContext { .. } => Self::Host { url, source },
            Other(other) if other.to_string() == CA_USED_AS_SERVER => Self::OfCa { url },
            _ => Self::Certificate { url, source },
        }
    }
}

/// The error of rustls that is the cause of `error`. An [`io::Error`] is not the source of what it holds, so it is looked into.
pub(super) fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => tls_error(held),
        None => tls_error(error.source()?),
    }
}
