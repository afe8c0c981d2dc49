//! The type that addresses to listen on are written in.

use std::{fmt, net::SocketAddr, ops::Deref, str::FromStr};

use serde::Deserialize;

/// Where to listen: a host and a port, `127.0.0.1:8080` or `[::1]:8080`; port 0 is any free one. Whether this machine has it shows when it
/// is taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(String);

/// Text that is no address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an address; an address is a host and a port, such as `127.0.0.1:8080`")]
pub struct ParseAddressError {
    text: String,
}

impl TryFrom<String> for Address {
    type Error = ParseAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.parse::<SocketAddr>().is_ok() || is_name_and_port(&text) { Ok(Self(text)) } else { Err(ParseAddressError { text }) }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

/// As text.
impl Deref for Address {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

fn is_name_and_port(text: &str) -> bool {
    let of_a_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_');
    let is_name = |host: &str| host.starts_with(|first: char| first.is_ascii_alphanumeric()) && host.chars().all(of_a_name);
    text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["127.0.0.1:8080", "0.0.0.0:0", "[::1]:8080", "localhost:80", "tidemark-0.tidemark:8080"] {
            assert_eq!(text.parse::<Address>().as_deref(), Ok(text));
        }
        for text in
            ["", "8080", ":8080", "localhost", "127.0.0.1", "127.0.0.1:", "localhost:http", "localhost:65536", "http://localhost:80"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
