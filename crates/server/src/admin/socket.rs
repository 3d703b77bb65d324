//! The server's end of the admin socket.

use super::{Answer, REQUEST_BYTES_MOST, Request};
use futures_util::future::BoxFuture;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Administrators and their scripts are few; more connections wait their turn.
const CONNECTIONS_MOST: usize = 16;

/// Time for a request to come, and for its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries out requests.
pub(crate) trait Handler: Send + Sync + 'static {
    fn handle(&self, request: Request) -> BoxFuture<'_, Answer>;
}

/// The listening socket; its file goes when it is dropped.
pub(crate) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Listens at `path`. The caller holds the lock on the storage directory, so a file left there
    /// by a server that was killed can be taken away.
    pub(crate) fn bind(path: &Path) -> std::io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        // `main` sets a umask under which the file is private from its first moment; this says so
        // for every other caller.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Answers until dropped.
    pub(crate) async fn serve(&self, handler: Arc<dyn Handler>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MOST));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(converse(stream, Arc::clone(&handler), place));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket gives no connection");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A file left behind is taken away by the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn converse(stream: UnixStream, handler: Arc<dyn Handler>, _place: OwnedSemaphorePermit) {
    let mut stream = BufReader::new(stream);
    while let Some(answer) = next_answer(&mut stream, &*handler).await {
        let last = matches!(answer, Reply::Last(_));
        let (Reply::More(answer) | Reply::Last(answer)) = answer;
        let mut line = serde_json::to_vec(&answer)
            .expect("an answer has no maps with keys that are no strings");
        line.push(b'\n');
        let written = timeout(PATIENCE, stream.get_mut().write_all(&line)).await;
        if last || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

/// An answer, and whether the connection goes on after it.
enum Reply {
    More(Answer),
    Last(Answer),
}

/// Reads one request and carries it out; `None` when no further request comes in time.
async fn next_answer(stream: &mut BufReader<UnixStream>, handler: &dyn Handler) -> Option<Reply> {
    let mut line = Vec::new();
    let mut limited = stream.take(REQUEST_BYTES_MOST);
    let read = timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await;
    if !matches!(read, Ok(Ok(length)) if length > 0) {
        return None;
    }
    if line.last() != Some(&b'\n') {
        let what = format!("a request is one line of at most {REQUEST_BYTES_MOST} bytes");
        return Some(Reply::Last(Answer::Refused(what)));
    }
    // The error's own text might quote a password.
    Some(match serde_json::from_slice(&line) {
        Ok(request) => Reply::More(handler.handle(request).await),
        Err(_) => Reply::Last(Answer::Refused(
            "that is no request this server knows".to_owned(),
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Client;

    struct Echo;

    impl Handler for Echo {
        fn handle(&self, request: Request) -> BoxFuture<'_, Answer> {
            Box::pin(async move {
                match request {
                    Request::UserRemove { account } => Answer::Refused(account),
                    _ => Answer::Done,
                }
            })
        }
    }

    async fn with_socket(test: impl AsyncFnOnce(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        // What a killed server leaves behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = AdminSocket::bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        tokio::select! {
            () = socket.serve(Arc::new(Echo)) => unreachable!("serving never ends by itself"),
            () = test(&path) => {}
        }
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn several_requests_may_follow_each_other_on_one_connection() {
        with_socket(async |path| {
            let path = path.to_owned();
            tokio::task::spawn_blocking(move || {
                let mut client = Client::connect(&path).unwrap();
                assert_eq!(client.ask(&Request::Reload).unwrap(), Answer::Done);
                let account = "romeo@localhost".to_owned();
                let refused = client
                    .ask(&Request::UserRemove {
                        account: account.clone(),
                    })
                    .unwrap();
                assert_eq!(refused, Answer::Refused(account));
            })
            .await
            .unwrap();
        })
        .await;
    }

    async fn raw(path: &Path, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request).await;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        line
    }

    #[tokio::test]
    async fn nonsense_unknown_fields_and_endless_lines_are_refused() {
        with_socket(async |path| {
            for request in [
                "hello\n",
                "{\"do\":\"explode\"}\n",
                "{\"do\":\"user_remove\",\"account\":\"a\",\"b\":\"c\"}\n",
            ] {
                assert_eq!(
                    raw(path, request.as_bytes()).await,
                    "{\"refused\":\"that is no request this server knows\"}\n"
                );
            }
            let endless = vec![b'a'; usize::try_from(REQUEST_BYTES_MOST).unwrap()];
            let answer = raw(path, &endless).await;
            assert!(answer.contains("one line of at most"), "{answer}");
        })
        .await;
    }

    #[tokio::test]
    async fn more_connections_than_allowed_wait_their_turn() {
        with_socket(async |path| {
            let mut waiting = Vec::new();
            for _ in 0..CONNECTIONS_MOST {
                waiting.push(UnixStream::connect(path).await.unwrap());
            }
            let mut last = Box::pin(raw(path, b"{\"do\":\"reload\"}\n"));
            let early = timeout(Duration::from_millis(50), &mut last).await;
            assert!(early.is_err(), "answered before a place was free");
            waiting.pop();
            assert_eq!(last.await, "\"done\"\n");
        })
        .await;
    }
}
