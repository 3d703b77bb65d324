"""Gajim's library (nbxmpp, with its own HTTP by libsoup): signs in, uploads a file, sends its address, and gets it back.

Run by the system's Python, for which Debian packages it; told what to do by JSON as its argument, tells by JSON what
came of it. test_nbxmpp.py is the other end.
"""

import json
import sys
from pathlib import Path

import gi

gi.require_version("Soup", "3.0")
from gi.repository import Gio, GLib  # noqa: E402
from nbxmpp.client import Client  # noqa: E402
from nbxmpp.const import ConnectionProtocol, ConnectionType  # noqa: E402
from nbxmpp.http import HTTPSession  # noqa: E402
from nbxmpp.protocol import JID, Message  # noqa: E402

told = json.loads(sys.argv[1])
loop = GLib.MainLoop()
http = HTTPSession()
found = {}


def ends(**more):
    print(json.dumps(found | more), flush=True)
    loop.quit()


def then(task, step, can_fail=False):
    """Goes on with the result of a task of nbxmpp's; with `None`, or not at all, when it failed."""

    def done(task):
        try:
            result = task.finish()
        except Exception as error:
            return step(None) if can_fail else ends(error=f"{step.__name__}: {error!r}")
        step(result)

    task.add_done_callback(done, weak=False)


def connected(client, _signal):
    then(client.get_module("Discovery").disco_items(told["domain"]), look_at_items)


def look_at_items(answer):
    waiting = [str(item.jid) for item in answer.items]

    def look_at(info):
        if info is not None and info.has_httpupload:
            found["service"], found["max_file_size"] = str(info.jid), info.httpupload_max_file_size
            return ask_for_slot()
        if not waiting:
            return ends(error="no service")
        then(client.get_module("Discovery").disco_info(JID.from_string(waiting.pop(0))), look_at, can_fail=True)

    look_at(None)


def ask_for_slot():
    path = Path(told["file"])
    upload = client.get_module("HTTPUpload")
    then(upload.request_slot(JID.from_string(found["service"]), path.name, path.stat().st_size, told["type"]), send)


def send(slot):
    def sent(request):
        if request.get_error() is not None:
            return ends(error=f"upload: {request.get_error_string()} {int(request.get_status())}")
        message = Message(to=told["to"], typ="chat", body=slot.get_uri)
        message.addChild("x", namespace="jabber:x:oob").setTagData("url", slot.get_uri)
        client.send_stanza(message)
        download(slot.get_uri)

    request = http.create_request()
    for name, value in slot.headers.items():
        request.get_request_headers().append(name, value)
    request.set_request_body_from_path(told["type"], Path(told["file"]))
    request.send("PUT", slot.put_uri, callback=sent)


def download(address):
    """As Gajim does before it shows a picture: it looks at the type that the server says and at how much there is."""

    def sniffed(_request, length, kind):
        found["length"], found["kind"] = length, kind

    def got(request):
        if request.get_error() is not None:
            return ends(error=f"download: {request.get_error_string()}")
        found["is_complete"] = request.is_complete()
        client.disconnect()
        ends(address=address)

    request = http.create_request()
    request.set_response_body_from_path(Path(told["save"]))
    request.connect("content-sniffed", sniffed)
    request.send("GET", address, callback=got)


client = Client(log_context="interop")
client.set_domain(told["domain"])
client.set_username(told["user"])
client.set_password(told["password"])
client.set_resource("interop")
client.set_http_session(http)
client.set_custom_host(told["host"], ConnectionProtocol.TCP, ConnectionType.START_TLS)
client.set_ignore_tls_errors(True)
client.subscribe("connected", connected)
for trouble in ("connection-failed", "disconnected"):
    client.subscribe(trouble, lambda _client, signal: loop.is_running() and ends(error=f"{signal}: {client.get_error()}"))
client.connect()
GLib.timeout_add_seconds(30, lambda: ends(error="nothing happens any more"))
loop.run()
