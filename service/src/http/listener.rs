//! Taking an address. Done early, so that a taken port is known before anything else starts.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use tokio::net::TcpListener;

use super::Tls;

/// An address that is ours. Clients may connect at once; they are answered when [`super::serve`] runs.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    pub(super) tls: Option<Tls>,
    address: SocketAddr,
}

/// Why an address cannot be taken. `setting` is the key that names the address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Stop the other program or choose another port.
    #[error(
        "the address `{address}` is taken: another program, perhaps another tidemark, listens there; \
         stop it, or choose another port with the setting `{setting}`, for example `--set {setting}={}`",
        next_port(address)
    )]
    Taken {
        /// The address.
        address: String,
        /// The key.
        setting: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Use a port of 1024 or above, or give the process the right.
    #[error("this user may not listen on `{address}`; choose a port of 1024 or above with the setting `{setting}`")]
    Forbidden {
        /// The address.
        address: String,
        /// The key.
        setting: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Correct the address.
    #[error(
        "cannot listen on `{address}`; the setting `{setting}` must be an address of this machine and a port, for example `127.0.0.1:8080`"
    )]
    Unusable {
        /// The address.
        address: String,
        /// The key.
        setting: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Takes `address` (`host:port`; port 0 = any free one), which the key `setting` names.
///
/// # Errors
/// When the address is taken, forbidden or not of this machine; the message names the setting and what to do.
pub async fn bind(address: &str, setting: &'static str) -> Result<Listener, BindError> {
    let failed = |source: io::Error| BindError::of(source, address.to_owned(), setting);
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok(Listener { socket, tls: None, address })
}

impl Listener {
    /// The address with its real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it can be reached, with its scheme.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    /// The listener with TLS, if there is any.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }
}

impl BindError {
    fn of(source: io::Error, address: String, setting: &'static str) -> Self {
        match source.kind() {
            ErrorKind::AddrInUse => Self::Taken { address, setting, source },
            ErrorKind::PermissionDenied => Self::Forbidden { address, setting, source },
            _ => Self::Unusable { address, setting, source },
        }
    }
}

/// The same address 100 ports further, as an example of another one.
fn next_port(address: &str) -> String {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    parts.map_or_else(|| "127.0.0.1:8180".to_owned(), |(host, port)| format!("{host}:{}", port.checked_add(100).unwrap_or(8180)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_none_names_its_setting() {
        let error = bind("127.0.0.1", "query.listen").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot listen on `127.0.0.1`; the setting `query.listen` must be an address of this machine and a port, \
             for example `127.0.0.1:8080`"
        );
    }

    #[test]
    fn the_example_of_another_port_is_a_port() {
        assert_eq!(next_port("127.0.0.1:8080"), "127.0.0.1:8180");
        assert_eq!(next_port("[::1]:65535"), "[::1]:8180");
        assert_eq!(next_port("nonsense"), "127.0.0.1:8180");
    }
}
