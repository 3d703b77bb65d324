//! The command line's end of the admin socket.

use super::{Answer, Request};
use anyhow::Context as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Removing an account with a long archive takes the longest; past this the server is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a running server.
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the socket at `path`.
    pub(crate) fn connect(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream
            .get_mut()
            .write_all(&line)
            .context("the server took no request")?;
        let mut answer = String::new();
        self.stream
            .read_line(&mut answer)
            .context("the server gave no answer")?;
        serde_json::from_str(&answer)
            .context("the server's answer makes no sense; is it of another version?")
    }
}
