"""Files in the bucket of an S3-compatible server: everything that is done with them, and that server being away."""

import asyncio
import hashlib

import pytest
from interop.media import PLUGINS, put, recognisable, request, slot
from interop.s3 import SECRET, S3Server, on_s3
from interop.slix import session

MIB = 1 << 20
# More than one part of 8 MiB, the last one shorter.
LARGE = 19 * MIB + 12_345
WRONG = "not the secret"
# The sweep goes round in a minute, but what it does first it does at the start.
SOON = 30.0


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    running = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def server(s3):
    running = on_s3(s3)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
async def romeo(server):
    async with session(server, *server.new_user("romeo"), plugins=PLUGINS) as client:
        yield client


async def sends(client, content, name="balcony.jpg", kind="image/jpeg"):
    """A slot, and what the server says to the upload."""
    given = await slot(client, name, len(content), kind)
    return given, await asyncio.to_thread(put, given, content, kind)


async def gets(given, **headers):
    return await asyncio.to_thread(request, given.get, "GET", None, headers)


def of(s3, content):
    """The keys of the objects that hold exactly these bytes."""
    digest = hashlib.sha256(content).digest()
    same = lambda path: path.stat().st_size == len(content) and hashlib.sha256(path.read_bytes()).digest() == digest
    return [key for key, path in s3.objects().items() if same(path)]


async def eventually(holds):
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("size", [1, 300_000, 8 * MIB, LARGE])
async def test_what_is_uploaded_lies_in_the_bucket_and_is_fetched_whole_or_in_pieces(server, s3, romeo, size):
    content = recognisable(size)
    given, answer = await sends(romeo, content)
    assert answer.status == 201
    [key] = of(s3, content)
    # Neither the account nor the file's name nor its address is in the key.
    folder, name = key.split("/")
    assert name.startswith(folder) and len(name) == 24
    assert name not in given.get and "balcony" not in key and "romeo" not in key
    whole = await gets(given)
    assert (whole.status, whole.body) == (200, content)
    if size > 1000:
        piece = await gets(given, Range=f"bytes=1000-{size - 1000}")
        assert (piece.status, piece.body) == (206, content[1000 : size - 999])
        end = await gets(given, Range="bytes=-500")
        assert (end.status, end.body) == (206, content[-500:])
    assert server.staged() == [] and s3.parts() == []


async def test_identical_files_of_an_account_are_one_object(server, s3, romeo):
    content = recognisable(200_000)
    first, _ = await sends(romeo, content)
    second, answer = await sends(romeo, content, "again.jpg")
    assert answer.status == 201
    assert len(of(s3, content)) == 1
    assert (await gets(first)).body == (await gets(second)).body == content
    assert server.staged() == []


async def test_while_the_service_is_away_uploads_and_downloads_are_told_to_come_again(server, s3, romeo):
    before = recognisable(100_000)
    stored, answer = await sends(romeo, before)
    assert answer.status == 201
    content = recognisable(200_000)
    s3.stop()
    try:
        given, refused = await sends(romeo, content)
        assert refused.status == 503 and int(refused.headers["Retry-After"]) > 0
        away = await gets(stored)
        assert away.status == 503 and int(away.headers["Retry-After"]) > 0
        # Nothing is visible before it is kept, and messages are not held up by it.
        assert (await gets(given)).status == 404
        await romeo.settle()
    finally:
        s3.start()
    assert of(s3, content) == []
    assert (await gets(stored)).body == before
    again, answer = await sends(romeo, content)
    assert answer.status == 201 and (await gets(again)).body == content
    assert "the object store" in server.log() and "secret" not in server.log_file.read_text()


async def test_what_was_uploaded_is_there_after_a_restart_of_both(server, s3, romeo):
    content = recognisable(LARGE)
    given, answer = await sends(romeo, content)
    assert answer.status == 201
    await asyncio.to_thread(server.stop)
    s3.stop()
    # Without its service the server starts all the same: messages do not depend on it.
    await asyncio.to_thread(server.start)
    assert (await gets(given)).status == 503
    s3.start()
    assert (await gets(given)).body == content


async def test_what_a_service_has_changed_is_not_served_to_its_end(server, s3, romeo):
    content = recognisable(300_000)
    given, _ = await sends(romeo, content)
    [key] = of(s3, content)
    changed = bytearray(content)
    changed[1234] ^= 1
    s3.objects()[key].write_bytes(changed)
    with pytest.raises(Exception, match="IncompleteRead|Connection"):
        await gets(given)
    assert "not what was stored" in server.log()


async def test_an_upload_in_parts_that_a_crash_has_ended_is_forgotten_by_the_service(server, s3, romeo):
    # On a quick machine an upload may have ended before it could be caught in the middle: then the next one.
    for _ in range(10):
        content = recognisable(60 * MIB)
        given = await slot(romeo, "film.mp4", len(content), "video/mp4")
        sending = asyncio.create_task(asyncio.to_thread(put, given, content, "video/mp4"))
        # The bytes are staged, and the first parts are on their way.
        while not sending.done() and not any(name.endswith(".parts") for name in server.staged()):
            await asyncio.sleep(0.002)
        if not sending.done():
            await asyncio.to_thread(server.kill)
            break
    with pytest.raises(Exception):
        await sending
    await asyncio.to_thread(server.start)
    assert (await gets(given)).status == 404
    await eventually(lambda: s3.parts() == [] and not any(name.endswith(".parts") for name in server.staged()))
    assert of(s3, content) == []


async def refuses(running, of_log):
    """An upload is told to come again, and the log says why it cannot be kept."""
    async with session(running, *running.new_user(), plugins=PLUGINS) as client:
        _, answer = await sends(client, recognisable(1000))
    assert answer.status == 503
    log = running.log_file.read_text()
    assert all(part in log for part in of_log), log[-3000:]
    assert SECRET not in log and WRONG not in log


async def test_with_a_wrong_key_nothing_is_kept_and_the_log_says_what_to_look_at(s3):
    running = on_s3(s3, secret=WRONG)
    try:
        await refuses(running, ["the object store refuses us", "SignatureDoesNotMatch", "credentials"])
    finally:
        running.close()


async def test_over_tls_the_service_has_to_be_whom_we_trust(tmp_path):
    s3 = S3Server(tmp_path, secure=True)
    running = None
    try:
        s3.start()
        running = on_s3(s3, trusting=False)
        await refuses(running, ["the object store does not answer", "certificate"])
        running.close()
        running = on_s3(s3)
        content = recognisable(LARGE)
        async with session(running, *running.new_user(), plugins=PLUGINS) as client:
            given, answer = await sends(client, content)
        assert answer.status == 201
        assert (await gets(given)).body == content
        assert len(of(s3, content)) == 1
    finally:
        if running:
            running.close()
        s3.stop()


async def test_an_object_goes_with_its_last_file(server, s3):
    content = recognisable(LARGE)
    user, password = server.new_user("juliet")
    async with session(server, user, password, plugins=PLUGINS) as juliet:
        given, _ = await sends(juliet, content)
        assert len(of(s3, content)) == 1
    await asyncio.to_thread(server.remove_user, user)
    assert (await gets(given)).status == 404
    # The sweep takes a minute to come round; after a start it comes at once.
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    await eventually(lambda: of(s3, content) == [])
