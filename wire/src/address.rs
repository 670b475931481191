//! Where a coordinator is, as people write it.

use std::{fmt, io, net::SocketAddr, str::FromStr};

/// Where a coordinator is: `quic://HOST:PORT`, or `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The host name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Looks the host up.
    ///
    /// # Errors
    /// When it is unknown.
    pub async fn resolve(&self) -> io::Result<SocketAddr> {
        tokio::net::lookup_host((self.host.as_str(), self.port))
            .await?
            .next()
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("{} has no address", self.host),
                )
            })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "quic://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "quic://{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError {
            text: text.to_owned(),
        };
        let rest = match text.split_once("://") {
            Some(("quic", rest)) => rest,
            Some(_) => return Err(error()),
            None => text,
        };
        let (host, port) = rest
            .trim_end_matches('/')
            .rsplit_once(':')
            .ok_or_else(error)?;
        let host = match host.strip_prefix('[') {
            Some(inside) => inside.strip_suffix(']').ok_or_else(error)?,
            None if host.contains(':') => return Err(error()),
            None => host,
        };
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(error)?;
        if host.is_empty() || host.contains(|c: char| "/[]".contains(c) || c.is_whitespace()) {
            return Err(error());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

/// A text that is no coordinator's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no coordinator's address: write quic://HOST:PORT")]
pub struct AddressError {
    /// The text.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, host, port, shown) in [
            (
                "quic://example.org:4433",
                "example.org",
                4433,
                "quic://example.org:4433",
            ),
            ("127.0.0.1:1", "127.0.0.1", 1, "quic://127.0.0.1:1"),
            ("quic://[::1]:7/", "::1", 7, "quic://[::1]:7"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.to_string(), shown);
        }
        for text in [
            "",
            "host",
            "host:",
            "host:0",
            "host:99999",
            "https://host:1",
            "::1:7",
            ":1",
            // Would be shown as another address than was read.
            "[[x]:1",
            "[x]]:1",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(
                error,
                AddressError {
                    text: text.to_owned()
                }
            );
        }
    }
}
