"""Files in the crash test: uploaders that put files whatever happens to the server, and what must be left of them.

An uploader asks for slots (XEP-0363) and puts files into them, small and large, some of them the same as before. An
upload that broke off it goes on with now and then (tus), or forgets. What was answered 201, or 204 at its end, must be
there and whole; of everything else it may only be whole, or not be there. When all is over and what nobody goes on
with is swept, the folder of files holds what can be fetched, and nothing else.
"""

import asyncio
import hashlib
import os
import time
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

import wire
from crash.devices import LOST, SILENCE, TRY_AGAIN_AFTER
from wire import split

UPLOAD = "urn:xmpp:http:upload:0"
# Of a file; the largest takes several writes.
SIZES = [50, 3_000, 200_000, 1_500_000]
PIECE = 100_000
PAUSE = 0.02
# How often an upload that broke off is gone on with, and a file is one that was there before.
RESUMED, REPEATED = 0.5, 0.2
# Sweeping begins with the start of the server, and rests a minute between its rounds.
SWEPT_WITHIN = 90.0


class Upload:
    """One file as its uploader knows it."""

    def __init__(self, content, put, get):
        self.put, self.get = put, get
        self.size, self.digest = len(content), hashlib.sha256(content).digest()
        self.confirmed = False


class Uploader:
    """Puts one file after the other."""

    # What other devices have, and this one has not: it keeps no session.
    pending = ()
    resumed = not_resumed = 0

    def __init__(self, server, user, password, random):
        self.server, self.user, self.password, self.random = server, user, password, random
        self.stream = None
        self.stopping = False
        self.uploads = []
        self.known = []
        self.gone_on = 0

    async def run(self):
        while not self.stopping:
            try:
                async with asyncio.timeout(SILENCE):
                    await self._upload()
            except (*LOST, asyncio.IncompleteReadError, TimeoutError):
                if self.stream:
                    self.stream.abort()
                self.stream = None
                await asyncio.sleep(TRY_AGAIN_AFTER)
            await asyncio.sleep(PAUSE)

    async def _upload(self):
        if not self.stream:
            self.stream = await wire.log_in(self.server, self.user, self.password, tls=False)
        content = self._content()
        upload = await self._slot(content)
        if not upload:
            return
        self.uploads.append(upload)
        try:
            status = await self._send(upload, "PUT", content, {})
        except (*LOST, asyncio.IncompleteReadError):
            if self.random.random() < RESUMED:
                await self._go_on(upload, content)
            return
        if status == 201:
            upload.confirmed = True
            self.known.append(content)

    def _content(self):
        if self.known and self.random.random() < REPEATED:
            return self.random.choice(self.known[-20:])
        return self.random.randbytes(self.random.choice(SIZES))

    async def _slot(self, content):
        request = f"<request xmlns='{UPLOAD}' filename={quoteattr('a file')} size='{len(content)}'/>"
        answer = await self.stream.ask(request, to=f"upload.{self.server.domain}")
        if answer.get("type") != "result":
            # A disk that fails refuses slots, too.
            await asyncio.sleep(TRY_AGAIN_AFTER)
            return None
        urls = {split(each.tag)[1]: each.get("url") for each in answer[0]}
        return Upload(content, urls["put"], urls["get"])

    async def _go_on(self, upload, content):
        """tus 1.0: ask how much is there, and send the rest. The server may still be away."""
        tus = {"Tus-Resumable": "1.0.0"}
        for _ in range(100):
            try:
                status, headers, _ = await http(upload.put, "HEAD", tus)
                break
            except (*LOST, asyncio.IncompleteReadError):
                await asyncio.sleep(TRY_AGAIN_AFTER * 4)
        else:
            return
        offset = headers.get("upload-offset")
        if status // 100 != 2 or offset is None:
            return
        assert int(offset) <= len(content), f"{offset} bytes of {len(content)} have come"
        tus |= {"Upload-Offset": offset, "Content-Type": "application/offset+octet-stream"}
        self.gone_on += 1
        status = await self._send(upload, "PATCH", content[int(offset):], tus)
        if status == 204:
            upload.confirmed = True

    async def _send(self, upload, method, content, headers):
        status, _, _ = await http(upload.put, method, headers, content, pause=self.random.choice([0, 0, PAUSE]))
        return status


async def http(address, method, headers=(), content=None, pause=0.0):
    """One request on a connection of its own; (status, headers, body)."""
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1 << 20)
    try:
        target = where.path + (f"?{where.query}" if where.query else "")
        head = [f"{method} {target} HTTP/1.1", f"Host: {where.netloc}", "Connection: close"]
        head += [f"{name}: {value}" for name, value in dict(headers).items()]
        if content is not None:
            head.append(f"Content-Length: {len(content)}")
        writer.write("\r\n".join([*head, "", ""]).encode())
        for at in range(0, len(content or b""), PIECE):
            writer.write(content[at : at + PIECE])
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        told = dict(line.lower().split(": ", 1) for line in answer[1:] if ": " in line)
        length = 0 if method == "HEAD" else int(told.get("content-length", 0))
        return int(answer[0].split(" ")[1]), told, await reader.readexactly(length)
    finally:
        writer.close()


async def look_at_files(victim, uploaders):
    """What is wrong with what is left of the files; the server runs. It is started again, with a shorter patience."""
    failures, visible = [], {}
    uploads = [upload for uploader in uploaders for upload in uploader.uploads]
    for upload in uploads:
        status, _, body = await http(upload.get, "GET")
        if status == 200:
            digest = hashlib.sha256(body).digest()
            if (len(body), digest) != (upload.size, upload.digest):
                failures.append(f"a file of {upload.size} bytes is another one: {upload.get}")
            visible.setdefault(digest, upload)
        elif upload.confirmed:
            failures.append(f"a file that was confirmed is not there ({status}): {upload.get}")
        elif status != 404:
            failures.append(f"a file that is not there is answered {status}: {upload.get}")
    await asyncio.to_thread(victim.stop)
    text = victim.config.read_text()
    victim.config.write_text(text.replace(UPLOAD_TIME, 'upload_time = "1s"'))
    # What a failing disk did not let go, no account knows of: the sweep takes it some hours later.
    for path in files(victim.folder / "data" / "media" / "staging"):
        os.utime(path, (0, 0))
    await asyncio.to_thread(victim.start)
    failures += await swept(victim.folder / "data" / "media", set(visible))
    confirmed = sum(upload.confirmed for upload in uploads)
    gone_on = sum(uploader.gone_on for uploader in uploaders)
    print(f"  files: {len(uploads)} begun, {confirmed} confirmed, {gone_on} gone on with, {len(visible)} different kept")
    if not confirmed:
        failures.append("no upload was ever confirmed")
    return failures


# What a test's configuration says until it waits for the sweep.
UPLOAD_TIME = 'upload_time = "6h"'
SETTINGS = f"""[media]
{UPLOAD_TIME}
# Uploads that broke off are many here, and stay for a while.
open_uploads = 10000
account_size = "1 TiB"
daily_size = "1 TiB"
"""


async def swept(media, expected):
    """Waits until the folders hold what they should, and says what is wrong if they never do."""
    deadline = time.monotonic() + SWEPT_WITHIN
    while True:
        kept, staged = digests(media / "objects"), files(media / "staging")
        if set(kept) == expected and len(kept) == len(expected) and not staged:
            return []
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    failures = []
    if staged:
        failures.append(f"{len(staged)} staged files are left: {', '.join(sorted(path.name for path in staged)[:5])}")
    if lost := expected - set(kept):
        failures.append(f"{len(lost)} objects of files are gone")
    if len(kept) > len(expected):
        failures.append(f"{len(kept) - len(expected)} objects are left that no file has")
    return failures


def files(folder):
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def digests(folder):
    """One for each object; who erases them meanwhile is not in the way."""
    found = []
    for path in files(folder):
        try:
            found.append(hashlib.sha256(path.read_bytes()).digest())
        except FileNotFoundError:
            pass
    return found
