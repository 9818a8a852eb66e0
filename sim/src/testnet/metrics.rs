//! Reads a program's metrics port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use whist_rt::io::{AsyncReadExt, AsyncWriteExt};
use whist_rt::raw::TcpStream;
use whist_rt::time;

const DEADLINE: Duration = Duration::from_secs(5);

/// Values by name with labels, as the port prints them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// The value of a name with its labels, if it is there.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// All names with labels that begin with `prefix`, and their values.
    pub fn all<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), *value))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(pairs.collect())
    }
}

/// What the port shows now; `None` if nobody answers.
pub async fn read(address: SocketAddr) -> Option<Metrics> {
    let text = text(address).await?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.0 200")
        .then(|| Metrics::parse(body))
}

/// The same as it came, with its head.
pub async fn text(address: SocketAddr) -> Option<String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream
            .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
            .await
            .ok()?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.ok()?;
        String::from_utf8(text).ok()
    };
    time::timeout(DEADLINE, asking).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_and_labels() {
        let text = "# HELP a b\na 3\nb{reason=\"x y\"} 0.5\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.value("a"), Some(3.0));
        assert_eq!(metrics.value("b{reason=\"x y\"}"), Some(0.5));
        assert_eq!(metrics.all("b").count(), 1);
        assert_eq!(metrics.value("c"), None);
    }
}
