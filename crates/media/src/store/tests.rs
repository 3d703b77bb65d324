//! The store on a disk, through its public face.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use sha2::{Digest as _, Sha256};

use super::*;

/// Longer than anything takes here; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

async fn local(folder: &Path) -> Store {
    let settings = Settings {
        directory: folder.to_owned(),
        free_disk_floor: 0,
        backend: Backend::Local,
    };
    Store::open(settings).await.unwrap()
}

fn object(letter: char) -> ObjectName {
    ObjectName::parse(&letter.to_string().repeat(24)).unwrap()
}

fn bytes(count: usize) -> Vec<u8> {
    let numbers = (0u32..).flat_map(u32::to_be_bytes);
    numbers.take(count).collect()
}

async fn stage(store: &Store, object: &ObjectName, bytes: &[u8]) -> Sealed {
    let mut staged = store.create(object).await.unwrap();
    for piece in bytes.chunks(10_000) {
        staged.write(piece).await.unwrap();
    }
    assert_eq!(staged.len(), bytes.len() as u64);
    staged.finish().await.unwrap()
}

async fn all(content: Result<Content, StoreError>) -> Result<Vec<u8>, StoreError> {
    let pieces: Vec<Bytes> = content?.try_collect().await?;
    Ok(pieces.concat())
}

/// The files below a folder, by their path in it.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(folder).unwrap();
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Waits until nobody writes the object any more: what is dropped is put away in the background.
async fn free(store: &Store, object: &ObjectName) {
    until(|| !store.shared.open().contains(object)).await;
}

/// What is there of it when nobody writes it any more.
async fn left(store: &Store, object: &ObjectName) -> Staged {
    free(store, object).await;
    store.reopen(object).await.unwrap().unwrap()
}

async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn what_is_kept_is_read_as_it_was_whole_or_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    let object = object('b');
    let content = bytes(3_000_001);
    let sealed = stage(&store, &object, &content).await;
    let digest = *sealed.digest();
    assert_eq!(digest, Digest::from(Sha256::digest(&content)));
    assert_eq!(sealed.size(), 3_000_001);
    let missing = store.read(&object, 0..1).await;
    assert!(
        matches!(missing, Err(StoreError::NotFound)),
        "before it is kept"
    );
    store.keep(sealed).await.unwrap();
    let whole = store.read_whole(&object, 3_000_001, &digest).await;
    assert!(all(whole).await.unwrap() == content);
    let piece = store.read(&object, 1_000_000..2_500_000).await;
    assert!(all(piece).await.unwrap() == content[1_000_000..2_500_000]);
    let nothing = store.read(&object, 5..5).await;
    assert!(all(nothing).await.unwrap().is_empty());
    assert_eq!(
        tree(folder.path()),
        ["objects/bb/bbbbbbbbbbbbbbbbbbbbbbbb"],
        "staging is empty"
    );
}

#[tokio::test]
async fn nobody_else_may_look_at_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("media");
    let store = local(&inner).await;
    store
        .keep(stage(&store, &object('b'), b"hello").await)
        .await
        .unwrap();
    drop(store.create(&object('c')).await.unwrap());
    drop(left(&store, &object('c')).await);
    let mode = |path: &str| {
        let described = std::fs::metadata(inner.join(path)).unwrap();
        described.permissions().mode() & 0o777
    };
    for path in ["", "staging", "objects", "objects/bb"] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
    for path in [
        "objects/bb/bbbbbbbbbbbbbbbbbbbbbbbb",
        "staging/cccccccccccccccccccccccc",
    ] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    let (object, other) = (object('b'), object('c'));
    let content = bytes(1_000_000);
    let mut staged = store.create(&object).await.unwrap();
    staged.write(&content[..700_000]).await.unwrap();
    let busy = store.reopen(&object).await;
    assert!(
        matches!(busy, Err(StoreError::Busy)),
        "one writer at a time"
    );
    drop(staged);
    let mut staged = left(&store, &object).await;
    assert_eq!(staged.len(), 700_000);
    staged.write(&content[700_000..]).await.unwrap();
    let sealed = staged.finish().await.unwrap();
    assert_eq!(*sealed.digest(), Digest::from(Sha256::digest(&content)));
    // Whole but not kept: that can be resumed, too.
    drop(sealed);
    let staged = store.reopen(&object).await.unwrap().unwrap();
    assert_eq!(staged.len(), 1_000_000);
    drop(staged);
    assert!(store.reopen(&other).await.unwrap().is_none());
}

/// HEAD asks for it often, and the file may be large.
#[tokio::test]
async fn how_much_is_staged_is_known_without_reading_it_and_what_nobody_wants_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    let (object, other) = (object('b'), object('c'));
    let mut staged = store.create(&object).await.unwrap();
    staged.write(&bytes(700_000)).await.unwrap();
    let busy = store.staged_len(&object).await;
    assert!(matches!(busy, Err(StoreError::Busy)));
    assert!(matches!(store.forget(&object).await, Err(StoreError::Busy)));
    drop(staged);
    drop(left(&store, &object).await);
    free(&store, &object).await;
    // As a crash may leave it: what no mark vouches for does not count.
    let path = folder.path().join("staging").join(object.as_str());
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(800_000).unwrap();
    assert_eq!(store.staged_len(&object).await.unwrap(), Some(700_000));
    assert_eq!(store.staged_len(&other).await.unwrap(), None);
    store.forget(&object).await.unwrap();
    store.forget(&other).await.unwrap();
    assert!(tree(folder.path()).is_empty());
}

/// A store whose service is not there.
async fn remote(folder: &Path) -> Store {
    let settings = S3Settings {
        bucket: "files".to_owned(),
        region: "here".to_owned(),
        // Nobody listens there.
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        credentials: Credentials::Keys {
            id: "AKIA".to_owned(),
            secret: "secret".into(),
            token: None,
        },
        path_style: true,
        allow_http: true,
        authorities: None,
    };
    let settings = Settings {
        directory: folder.to_owned(),
        free_disk_floor: 0,
        backend: Backend::S3(settings),
    };
    Store::open(settings).await.unwrap()
}

/// A small file has no mark before it is whole.
#[tokio::test]
async fn of_what_could_not_be_kept_nothing_is_to_be_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let away = remote(&folder.path().join("away")).await;
    let broken = local(&folder.path().join("broken")).await;
    // In the place of the folder that it would go to.
    std::fs::write(folder.path().join("broken/objects/bb"), "").unwrap();
    for store in [away, broken] {
        let content = bytes(700_000);
        let sealed = stage(&store, &object('b'), &content).await;
        store.keep(sealed).await.unwrap_err();
        let staged = store.reopen(&object('b')).await.unwrap().unwrap();
        assert_eq!(staged.len(), 700_000);
        let sealed = staged.finish().await.unwrap();
        assert_eq!(*sealed.digest(), Digest::from(Sha256::digest(&content)));
        sealed.leave().await;
        let staged = store.reopen(&object('b')).await.unwrap().unwrap();
        assert_eq!(staged.len(), 700_000);
    }
}

#[tokio::test]
async fn what_a_crash_may_have_torn_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let size = (2 << 20) + (700 << 10);
    let (object, content) = (object('b'), bytes(size));
    {
        let store = local(folder.path()).await;
        let mut staged = store.create(&object).await.unwrap();
        for piece in content.chunks(1 << 20) {
            staged.write(piece).await.unwrap();
        }
        // As a crash would: nothing is put away.
        std::mem::forget(staged);
    }
    let path = folder.path().join("staging").join(object.as_str());
    until(|| std::fs::metadata(&path).unwrap().len() >= size as u64).await;
    // The end of the file is there by its length only.
    let torn = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&torn, &[0; 100 << 10], (2 << 20) + (600 << 10))
        .unwrap();
    let store = local(folder.path()).await;
    let mut staged = store.reopen(&object).await.unwrap().unwrap();
    assert_eq!(staged.len(), 2 << 20);
    staged.write(&content[2 << 20..]).await.unwrap();
    let sealed = staged.finish().await.unwrap();
    assert_eq!(*sealed.digest(), Digest::from(Sha256::digest(&content)));
}

#[tokio::test]
async fn what_is_not_what_was_stored_is_never_served_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    let content = bytes(200_000);
    let sealed = stage(&store, &object('b'), &content).await;
    let digest = *sealed.digest();
    store.keep(sealed).await.unwrap();
    let path = folder.path().join("objects/bb/bbbbbbbbbbbbbbbbbbbbbbbb");
    let mut changed = content.clone();
    changed[100] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    let mut whole = store
        .read_whole(&object('b'), 200_000, &digest)
        .await
        .unwrap();
    let mut served = 0;
    let error = loop {
        match whole.try_next().await {
            Ok(piece) => served += piece.unwrap().len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Mismatch), "{error}");
    assert!(served < 200_000, "{served}");
    // One that has become shorter shows in a piece, too.
    std::fs::write(&path, &content[..1_000]).unwrap();
    let short = all(store.read(&object('b'), 0..2_000).await).await;
    assert!(matches!(short, Err(StoreError::Mismatch)));
    assert_eq!(store.stats().mismatches.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn folders_that_cannot_be_written_to_are_known_before_anybody_uploads() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Settings {
        directory: folder.path().to_owned(),
        free_disk_floor: 0,
        backend: Backend::Local,
    });
    let store = store.await.unwrap();
    assert!(store.probe().await);
    // Whoever runs this may write everywhere, but not to what is gone.
    std::fs::remove_dir(folder.path().join("objects")).unwrap();
    assert!(!store.probe().await);
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Settings {
        directory: folder.path().to_owned(),
        free_disk_floor: u64::MAX,
        backend: Backend::Local,
    });
    let store = store.await.unwrap();
    let refused = store.create(&object('b')).await;
    assert!(matches!(refused, Err(StoreError::Full)));
    assert_eq!(store.stats().refused_full.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_disk_that_fills_in_mid_upload_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    let mut staged = store.create(&object('b')).await.unwrap();
    staged.write(&bytes(1000)).await.unwrap();
    drop(staged);
    drop(left(&store, &object('b')).await);
    free(&store, &object('b')).await;
    let floor = &store.shared.free_disk_floor;
    floor.store(u64::MAX, Ordering::Relaxed);
    let mut staged = store.reopen(&object('b')).await.unwrap().unwrap();
    let mut result = Ok(());
    for piece in bytes(8 << 20).chunks(1 << 20) {
        result = staged.write(piece).await;
        if result.is_err() {
            break;
        }
    }
    assert!(matches!(result, Err(StoreError::Full)), "{result:?}");
    assert!(staged.write(b"more").await.is_err());
}

#[tokio::test]
async fn what_is_erased_is_gone_and_what_is_written_is_erased_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    let (kept, coming) = (object('b'), object('c'));
    store
        .keep(stage(&store, &kept, b"hello").await)
        .await
        .unwrap();
    let staged = store.create(&coming).await.unwrap();
    assert!(matches!(store.erase(&coming).await, Err(StoreError::Busy)));
    staged.discard().await.unwrap();
    store.erase(&kept).await.unwrap();
    store.erase(&kept).await.unwrap();
    store.erase(&coming).await.unwrap();
    assert!(tree(folder.path()).is_empty());
    let gone = store.read(&kept, 0..5).await;
    assert!(matches!(gone, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn what_nobody_has_touched_for_long_is_swept_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    store
        .keep(stage(&store, &object('b'), b"kept").await)
        .await
        .unwrap();
    let mut staged = store.create(&object('c')).await.unwrap();
    staged.write(b"left").await.unwrap();
    drop(staged);
    drop(left(&store, &object('c')).await);
    free(&store, &object('c')).await;
    let writing = store.create(&object('d')).await.unwrap();
    std::fs::write(folder.path().join("staging/README"), "not ours").unwrap();
    let young = store.sweep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(young, Swept::default());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let swept = store.sweep(Duration::ZERO).await.unwrap();
    assert_eq!((swept.files, swept.bytes), (1, 4));
    assert_eq!(
        tree(folder.path()),
        [
            "objects/bb/bbbbbbbbbbbbbbbbbbbbbbbb",
            "staging/README",
            "staging/dddddddddddddddddddddddd",
        ]
    );
    drop(writing);
}

#[tokio::test]
async fn one_that_cannot_be_cleared_does_not_keep_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = remote(folder.path()).await;
    let staging = folder.path().join("staging");
    // In whatever order they are found: were the first of either kind the end, some of the other would stay.
    for letter in 'b'..='i' {
        let object = object(letter);
        std::fs::write(staging.join(object.as_str()), "left").unwrap();
        std::fs::write(staging.join(format!("{object}.parts")), "upload").unwrap();
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let error = store.sweep(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, StoreError::Remote { .. }), "{error}");
    let left = tree(folder.path());
    assert!(
        left.len() == 8 && left.iter().all(|path| path.ends_with(".parts")),
        "{left:?}"
    );
}

/// A power cut may leave its length without its bytes, or with others.
#[tokio::test]
async fn a_torn_note_of_an_upload_in_parts_names_none_and_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let store = remote(folder.path()).await;
    for (letter, note) in [('b', &[0; 40][..]), ('c', b"\xff\xfe"), ('d', b"")] {
        let name = format!("staging/{}.parts", object(letter));
        std::fs::write(folder.path().join(name), note).unwrap();
    }
    // Nobody is asked: there is nobody.
    let swept = store.sweep(Duration::ZERO).await.unwrap();
    assert_eq!((swept.files, swept.parts), (0, 3));
    assert!(tree(folder.path()).is_empty());
}

/// A power cut may bring a mark back whose file was kept, or erased.
#[tokio::test]
async fn a_mark_without_its_file_is_cleared_whatever_its_age_unless_an_upload_has_begun() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    let mark = |letter| {
        let name = format!("staging/{}.mark", object(letter));
        std::fs::write(folder.path().join(name), [0; 8]).unwrap();
    };
    mark('b');
    mark('c');
    let begun = store.create(&object('c')).await.unwrap();
    let swept = store.sweep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!((swept.files, swept.bytes), (1, 8));
    let left = tree(folder.path());
    assert!(left.iter().all(|path| path.contains(object('c').as_str())));
    begun.discard().await.unwrap();
    assert!(tree(folder.path()).is_empty());
}

#[tokio::test]
async fn the_same_bytes_that_are_not_needed_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    stage(&store, &object('b'), b"hello")
        .await
        .discard()
        .await
        .unwrap();
    assert!(tree(folder.path()).is_empty());
}

/// How they grow is looked at without a clock, beside it ([`files`]).
#[tokio::test]
async fn a_slow_reader_has_small_pieces_and_nobody_has_larger_ones_than_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path()).await;
    store
        .keep(stage(&store, &object('b'), &bytes(2 << 20)).await)
        .await
        .unwrap();
    let mut content = store.read(&object('b'), 0..2 << 20).await.unwrap();
    let first = content.try_next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let slow = content.try_next().await.unwrap().unwrap();
    assert_eq!((first.len(), slow.len()), (64 << 10, 64 << 10));
    let most = content.try_fold(0, |most, piece| async move { Ok(most.max(piece.len())) });
    assert!(most.await.unwrap() <= files::PIECE_MOST);
}
