"""A slixmpp client that encrypts end to end (XEP-0384), in both versions of OMEMO that clients use.

slixmpp-omemo publishes keys for both, but puts messages into the old one only. For the new one its library is used
directly, with the text itself where XEP-0420 would have an envelope: that is nothing a server sees.
"""

import contextlib

import twomemo
import twomemo.etree
from omemo.storage import Just, Nothing, Storage
from oldmemo import oldmemo
from slixmpp import JID
from slixmpp.plugins import register_plugin
from slixmpp_omemo import XEP_0384
from interop.slix import session

OLD = oldmemo.NAMESPACE
NEW = twomemo.twomemo.NAMESPACE
# A hundred keys are made and published at a device's first start.
READY_WITHIN = 60


class Memory(Storage):
    """What a device would keep on its disk."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    async def _load(self, key):
        return Just(self.kept[key]) if key in self.kept else Nothing()

    async def _store(self, key, value):
        self.kept[key] = value

    async def _delete(self, key):
        self.kept.pop(key, None)


class Omemo(XEP_0384):
    """slixmpp-omemo's plugin, with a disk in memory and trust in everybody."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.disk = Memory()

    @property
    def storage(self):
        return self.disk

    @property
    def _btbv_enabled(self):
        return True

    async def _prompt_manual_trust(self, manually_trusted, identifier):
        raise AssertionError("every device is trusted blindly")


register_plugin(Omemo)


class Device:
    """One device of somebody, with what it needs to keep a secret."""

    def __init__(self, client):
        self.client = client
        self.omemo = client.plugin["xep_0384"]

    @property
    def bare_jid(self):
        return self.client.boundjid.bare

    async def ready(self):
        """Its keys are made and published."""
        await self.client.happens("omemo_initialized", READY_WITHIN)
        return self

    async def devices_of(self, bare_jid):
        """The ids of somebody's devices that have keys of both versions, as this device knows them."""
        await self.omemo.refresh_device_lists({JID(bare_jid)}, force_download=True)
        manager = await self.omemo.get_session_manager()
        known = await manager.get_device_information(bare_jid)
        return {each.device_id for each in known if each.namespaces >= {OLD, NEW}}

    async def says(self, recipient, text, version):
        """Encrypt for each device of the recipient and the other ones of our own, and send."""
        stanza = self.client.make_message(mto=recipient, mbody=text, mtype="chat")
        if version == OLD:
            stanza, problems = await self.omemo.encrypt_message(stanza, {JID(recipient)})
        else:
            manager = await self.omemo.get_session_manager()
            await self.omemo.refresh_device_lists({JID(recipient)})
            messages, problems = await manager.encrypt(
                frozenset({recipient}), {NEW: text.encode()}, backend_priority_order=[NEW]
            )
            stanza["body"] = "This message is encrypted."
            stanza.enable("store")
            for message in messages:
                stanza.append(twomemo.etree.serialize_message(message))
        assert not problems, problems
        assert text not in str(stanza)
        stanza.send()

    async def reads(self, stanza):
        """The text of an encrypted message, and which version it is in."""
        (version,) = self.omemo.is_encrypted(stanza)
        if version == OLD:
            return (await self.omemo.decrypt_message(stanza))[0]["body"], version
        manager = await self.omemo.get_session_manager()
        element = stanza.xml.find(f"{{{NEW}}}encrypted")
        message = twomemo.etree.parse_message(element, stanza["from"].bare)
        return (await manager.decrypt(message))[0].decode(), version

    async def hears(self):
        """The next encrypted message to this account."""
        while True:
            stanza = await self.client.happens("message")
            if self.omemo.is_encrypted(stanza):
                return await self.reads(stanza)

    async def overhears(self):
        """The next encrypted message that another device of this account has sent."""
        return await self.reads((await self.client.happens("carbon_sent"))["carbon_sent"])


@contextlib.asynccontextmanager
async def device(server, user, password, resource):
    """A device that is signed in, has published its keys and gets carbons."""
    plugins = ["xep_0060", "xep_0163", "xep_0384"]
    async with session(server, user, password, online=False, resource=resource, plugins=plugins) as client:
        await client.plugin["xep_0280"].enable()
        # Of its own accord slixmpp hashes its capabilities before all of its plugins have named theirs, and a hash
        # that its answer does not prove is not believed (XEP-0115 §5.4).
        await client.plugin["xep_0115"].update_caps(broadcast=False)
        await client.come_online()
        yield await Device(client).ready()
