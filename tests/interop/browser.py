"""Converse.js in headless Chromium: a page of it for one user, and what that user does and sees."""

import contextlib
import functools
import html
import http.server
import json
import os
import shutil
import threading
from pathlib import Path

from playwright.async_api import async_playwright

CONVERSE = Path(__file__).parent / "converse" / "node_modules" / "converse.js" / "dist"
# A debug server, a busy machine and 10 MB of JavaScript.
SEEN_WITHIN_MILLIS = 60_000

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Converse</title>
<link rel="stylesheet" href="/converse.min.css">
<script type="module" src="/converse.min.js"></script>
</head><body class="converse-fullscreen">
<script type="module">converse.initialize(%s);</script>
</body></html>
"""


def settings(server, user, password):
    """What `converse.initialize` is told."""
    return {
        "jid": f"{user}@{server.domain}",
        "password": password,
        "auto_login": True,
        "websocket_url": server.websocket,
        "discover_connection_methods": False,
        "assets_path": "/",
        "view_mode": "fullscreen",
        "i18n": "en",
        "loglevel": "debug",
        "show_client_info": False,
        "auto_away": 0,
        "play_sounds": False,
        "show_desktop_notifications": False,
        "omemo_default": False,
    }


class Site:
    """Serves Converse's files, and a page for one user, on a free port of loopback."""

    def __init__(self, options):
        page = (PAGE % html.escape(json.dumps(options), quote=False)).encode()

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                if self.path != "/":
                    return super().do_GET()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_):
                """Quiet."""

        handler = functools.partial(Handler, directory=CONVERSE)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Converse:
    """What a person does with the page."""

    def __init__(self, page):
        self.page = page

    async def sees(self, selector, text=None):
        """Wait until something is on the page; it."""
        found = self.page.locator(selector, has_text=text) if text else self.page.locator(selector)
        await found.first.wait_for(state="visible", timeout=SEEN_WITHIN_MILLIS)
        return found.first

    async def opens_chat_with(self, name):
        await (await self.sees("converse-roster-contact", name)).click()
        await self.sees("converse-chat textarea.chat-textarea")

    async def enters_room(self, room, nick):
        """By the address that a link to a room has, and the form that asks for a nick (once: then it is registered)."""
        await self.sees("converse-controlbox .controlbox-heading--groupchats")
        await self.page.evaluate("room => { location.hash = `#converse/room?jid=${room}` }", str(room))
        asks, inside = "converse-muc-nickname-form input[name=nick]", "converse-muc textarea.chat-textarea"
        box = await self.sees(f"{asks}, {inside}")
        if await box.get_attribute("name") == "nick":
            await box.fill(nick)
            await box.press("Enter")
        await self.sees(inside)

    async def says(self, text, where="converse-chat"):
        box = await self.sees(f"{where} textarea.chat-textarea")
        await box.fill(text)
        await box.press("Enter")

    async def reads(self, text, where="converse-chat"):
        await self.sees(f"{where} .chat-msg__text", text)


@contextlib.asynccontextmanager
async def converse(server, user, password, screenshot=None):
    """A new browser, without any past, in which `user` is signed in. `screenshot` is made at the end."""
    site = Site(settings(server, user, password))
    console = []
    try:
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                # Root may not have a sandbox, and containers have a small /dev/shm.
                args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
            )
            page = await chromium.new_page(viewport={"width": 1200, "height": 800})
            page.on("console", lambda message: console.append(message.text))
            page.on("pageerror", lambda error: console.append(f"page error: {error}"))
            await page.goto(site.address)
            try:
                yield Converse(page)
            except BaseException:
                print("\n".join(console[-80:]))
                raise
            finally:
                if screenshot:
                    await page.screenshot(path=os.fspath(screenshot))
                await chromium.close()
    finally:
        site.close()
