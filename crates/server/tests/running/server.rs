//! A server of its own for a test: its binary, its folder, free ports on loopback.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

/// Nothing here takes long; what takes this long will never come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a configuration, and what is run in it.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// A folder whose configuration listens on free ports; `more` is put at its end.
    pub(crate) fn new(more: &str) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        place.configure(more);
        place
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, more: &str) {
        let free = "[\"127.0.0.1:0\"]";
        let text = format!(
            "[listen]\nc2s = {free}\nc2s_tls = {free}\nhttp = {free}\nmetrics = {free}\n{more}"
        );
        std::fs::write(self.path("posthaste.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command to its end, with `input` as its standard input.
    pub(crate) fn command(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .prepared(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn succeed(&self, arguments: &[&str], input: &str) -> String {
        let output = self.command(arguments, input);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Runs a command that must fail; what it says.
    pub(crate) fn fail(&self, arguments: &[&str], input: &str) -> String {
        let output = self.command(arguments, input);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{arguments:?}: {}",
            text(&output.stdout)
        );
        text(&output.stderr)
    }

    /// Runs a command at a terminal and types a line at each of its prompts, which end with a
    /// colon. Answers its end and what the terminal showed of what was typed.
    pub(crate) fn type_at_prompts(
        &self,
        arguments: &[&str],
        lines: &[&str],
    ) -> (ExitStatus, String) {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let keyboard = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let mut child = self.prepared(arguments).stdin(keyboard).spawn().unwrap();
        let mut prompts = child.stderr.take().unwrap();
        let mut terminal = File::from(terminal);
        for line in lines {
            let mut prompt = [0];
            while prompt != *b":" {
                prompts.read_exact(&mut prompt).unwrap();
            }
            terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        let status = child.wait().unwrap();
        drop(child);
        let mut shown = Vec::new();
        // With the last end of the keyboard gone, reading ends in an error.
        let _ = terminal.read_to_end(&mut shown);
        (status, text(&shown))
    }

    /// The running server's status.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.succeed(&["status", "--json"], "")).unwrap()
    }

    /// Starts the server and waits until it serves.
    pub(crate) fn start(&self) -> Running<'_> {
        // A full disk or a size limit is an error to handle, not a reason to die.
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap '' XFSZ; exec \"$0\" run",
            env!("CARGO_BIN_EXE_posthaste"),
        ]);
        let mut child = command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let running = Running {
            place: self,
            child,
            log,
        };
        running.wait_for("serving");
        running
    }

    fn prepared(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
        command
            .current_dir(self.folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// A running server; killed when dropped.
pub(crate) struct Running<'a> {
    place: &'a Place,
    child: Child,
    log: Receiver<String>,
}

impl Running<'_> {
    /// Waits for a line of the log that holds `what`; answers it.
    pub(crate) fn wait_for(&self, what: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no {what:?} in the log, but: {}", seen.join("\n")),
            }
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the process to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// SIGTERM, and a clean end.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert!(self.ended().success());
    }

    /// Where a listener of this kind is, as the status names it.
    pub(crate) fn address(&self, kind: &str) -> SocketAddr {
        let status = self.place.status();
        let listening = status["listening"].as_array().unwrap();
        let mut found = listening
            .iter()
            .filter_map(|text| text.as_str()?.strip_prefix(kind));
        found.next().unwrap().trim().parse().unwrap()
    }

    /// A client whose stream is open: it has its features and has not logged in.
    pub(crate) fn client(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address("xmpp ")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let open = "<stream:stream xmlns='jabber:client' to='localhost' version='1.0' \
                    xmlns:stream='http://etherx.jabber.org/streams'>";
        stream.write_all(open.as_bytes()).unwrap();
        read_until(&mut stream, "</stream:features>");
        stream
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until `end` has come; answers everything.
pub(crate) fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&read).contains(end) {
        match stream.read(&mut buffer).unwrap() {
            0 => panic!("no {end:?} in {}", String::from_utf8_lossy(&read)),
            length => read.extend_from_slice(&buffer[..length]),
        }
    }
    text(&read)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
