"""Files over HTTP, as clients send and get them: slots (XEP-0363), requests, and what lies on the server's disk."""

import http.client
import secrets
import ssl
import struct
import zlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from .servers import chosen, free_ports

PLUGINS = ["xep_0066", "xep_0128", "xep_0363"]
UPLOAD = "urn:xmpp:http:upload:0"
PURPOSE = "urn:xmpp:http:upload:purpose:0"
# A debug server on a busy machine.
ANSWERED_WITHIN = 30


def picture(width=320, height=240, marker=b""):
    """A PNG that one recognises on a screenshot: colours that run across and down. `marker` stands in it as it is."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows += bytes((255 * x // width, 255 * y // height, 160))
    return png(width, height, bytes(rows), marker=marker)


def png(width, height, rows, depth=8, colours=2, marker=b""):
    """A PNG of these rows, each with its filter byte. The header may say what is not so."""

    def chunk(kind, content):
        return struct.pack("!I", len(content)) + kind + content + struct.pack("!I", zlib.crc32(kind + content))

    header = struct.pack("!IIBBBBB", width, height, depth, colours, 0, 0, 0)
    text = chunk(b"tEXt", b"Comment\0" + marker) if marker else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def recognisable(size):
    """Bytes that nothing else on this machine has."""
    line = secrets.token_hex(32).encode() + b"\n"
    return (line * (size // len(line) + 1))[:size]


@dataclass
class Answer:
    """What the server has said to one request."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class Slot:
    """Where one file is put, and where it will be."""

    put: str
    get: str
    headers: dict


def request(address, method="GET", body=None, headers=None, certificate=None):
    """One HTTP request on a connection of its own; bytes that are sent say their length."""
    where = urlsplit(address)
    if where.scheme == "https":
        trust = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection(where.hostname, where.port, timeout=ANSWERED_WITHIN, context=trust)
    else:
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=ANSWERED_WITHIN)
    path = where.path + (f"?{where.query}" if where.query else "")
    try:
        connection.request(method, path, body=body, headers={"Host": where.netloc} | (headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


async def service(client):
    """The address of the upload service, found as clients find it."""
    found = await client.plugin["xep_0363"].find_upload_service(timeout=ANSWERED_WITHIN)
    assert found is not None, "no upload service is announced"
    return found["from"]


async def slot(client, name, size, content_type=None, purpose=None):
    """A slot for a file; an IqError when there is none."""
    iq = client.make_iq_get(ito=await service(client))
    asked = iq["http_upload_request"]
    asked["filename"], asked["size"] = name, str(size)
    if content_type is not None:
        asked["content-type"] = content_type
    if purpose is not None:
        asked.xml.append(purpose)
    answer = await iq.send(timeout=ANSWERED_WITHIN)
    given = answer["http_upload_slot"]
    headers = {each["name"]: each["value"] for each in given["put"]["headers"]}
    return Slot(given["put"]["url"], given["get"]["url"], headers)


def put(where, content, content_type="application/octet-stream", **more):
    """Uploads into a slot, with its headers."""
    headers = {"Content-Type": content_type} | where.headers | more
    return request(where.put, "PUT", content, headers)


def on_disk(server, content):
    """The files of the server that hold (the beginning of) these recognisable bytes."""
    mark = content[:64]
    folder = server.folder / "data"
    return [path for path in folder.rglob("*") if path.is_file() and mark in path.read_bytes()]


def configured(*lines, https=False):
    """The server under test with these lines more in its configuration, not started yet; its HTTP also over TLS."""

    class Configured(chosen()):
        def configure(self):
            super().configure()
            text = self.config.read_text()
            if https:
                [port] = free_ports(1)
                text = text.replace("[listen]\n", f'[listen]\nhttps = ["{self.host}:{port}"]\n', 1)
            self.config.write_text(text + "\n" + "\n".join(lines) + "\n")

    return Configured()
