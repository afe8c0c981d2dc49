//! API keys: who may send, ask and administer.
//!
//! A request brings a key ([`credentials`]), the [`KeyRing`] finds its record among those of the file `keys.file`, which every
//! role of a machine can share, and says who the [`Caller`] is. Several keys are valid at once, so that one can be replaced
//! without a pause; the file is read again when it changes.
//!
//! A key is 256 random bits, so its BLAKE3 hash is all that is kept: there is nothing to guess that a slow hash would protect.
//! Hashes are compared in constant time.

mod credentials;
mod file;
mod record;
mod ring;
mod scope;

use std::{fmt, net::IpAddr};

use http::{HeaderMap, HeaderValue};

pub use self::{
    file::{KeyFile, KeyFileError},
    record::{KeyId, KeyRecord, NewKey},
    ring::{Config, KeyRing, KeysError, Refusal},
    scope::{ParseScopeError, Scope, Scopes},
};
use crate::settings::Secret;

/// Who sends a request, among its extensions. What is limited and logged is limited and logged by caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The holder of a key.
    Key(KeyId),
    /// Whoever has this address, where keys are off; of IPv6 the first 64 bits, which one subscriber has to himself.
    Peer(IpAddr),
}

impl Caller {
    /// The caller at an address.
    pub(crate) fn of_peer(address: IpAddr) -> Self {
        Self::Peer(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
            address => address,
        })
    }
}

/// The headers of a request that brings this key; none for none.
#[must_use]
pub fn headers(key: &Secret) -> HeaderMap {
    let value = HeaderValue::from_str(key.expose()).ok().filter(|value| !value.is_empty());
    let header = value.map(|mut value| {
        value.set_sensitive(true);
        (credentials::API_KEY, value)
    });
    header.into_iter().collect()
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key {id}"),
            Self::Peer(address) => write!(f, "peer {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_of_ipv6_is_one_caller() {
        let caller = |text: &str| Caller::of_peer(text.parse().unwrap());
        assert_eq!(caller("2001:db8::1"), caller("2001:db8::ffff:1"));
        assert_ne!(caller("2001:db8::1"), caller("2001:db8:0:1::1"));
        assert_eq!(caller("::ffff:192.0.2.1"), caller("192.0.2.1"));
    }
}
