//! TLS by rustls, with a certificate that is read again when its files change.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{file_watch::FileWatch, tasks::Stop};

/// What clients may choose from, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How often the files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The section `tls`.
#[derive(Clone, Debug, Deserialize)]
pub struct TlsConfig {
    /// The certificate and those that it depends on, in PEM; empty = no TLS.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// Whether internal ports speak TLS too.
    pub internal: bool,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Give readable files in PEM.
    #[error("cannot read `{}`, which `{setting}` names", path.display())]
    File {
        /// The key.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// Set both, or none.
    #[error("`tls.certificate` and `tls.key` belong together; set both or none")]
    Half,
    /// Give a certificate and its own key.
    #[error("the certificate in `tls.certificate` and the key in `tls.key` cannot be used together")]
    Unusable(#[source] rustls::Error),
}

/// The TLS of listeners. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

#[derive(Debug)]
struct Certificate {
    config: TlsConfig,
    watch: Mutex<FileWatch>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// Reads the certificate; `None` when none is set.
    ///
    /// # Errors
    /// When the files cannot be read or do not fit.
    pub fn open(config: TlsConfig) -> Result<Option<Self>, TlsError> {
        match (config.certificate.as_os_str().is_empty(), config.key.as_os_str().is_empty()) {
            (true, true) => return Ok(None),
            (false, false) => {}
            _ => return Err(TlsError::Half),
        }
        let watch = Mutex::new(FileWatch::new([config.certificate.as_path(), config.key.as_path()]));
        let current = RwLock::new(Arc::new(config.read()?));
        let certificate = Arc::new(Certificate { config, watch, current });
        let resolver = Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>;
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(server)), certificate }))
    }

    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(socket).await
    }

    /// Takes the certificate again whenever its files change, until a stop is requested; run it as a task.
    ///
    /// # Errors
    /// Never; the type is that of a task.
    pub async fn watch(self, stop: Stop) -> Result<(), Infallible> {
        while timeout(WATCH_INTERVAL, stop.requested()).await.is_err() {
            self.certificate.refresh();
        }
        Ok(())
    }
}

impl TlsConfig {
    fn read(&self) -> Result<CertifiedKey, TlsError> {
        let failed = |setting, path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::File { setting, path, source }
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(failed("tls.certificate", &self.certificate))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(failed("tls.key", &self.key))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Unusable)
    }
}

impl Certificate {
    /// While certificate and key do not fit, because only one of them is replaced yet, the old ones stay.
    fn refresh(&self) {
        if !self.watch.lock().unwrap_or_else(PoisonError::into_inner).has_changed() {
            return;
        }
        match self.config.read() {
            Ok(read) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                tracing::info!("the certificate has changed and is in force");
            }
            Err(error) => tracing::error!(%error, "the new certificate cannot be used; the old one stays in force"),
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.certificate.config.fmt(f)
    }
}
