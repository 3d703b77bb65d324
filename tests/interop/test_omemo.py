"""End-to-end encryption with slixmpp-omemo: two devices a side, and both versions of OMEMO (XEP-0384)."""

from contextlib import AsyncExitStack

import pytest
from interop.omemo_device import NEW, OLD, device
from interop.slix import make_contacts, session

pytestmark = pytest.mark.filterwarnings("ignore")


async def four_devices(server, stack):
    """Romeo's and Juliet's, a phone and a laptop each."""
    romeo, juliet = server.new_user("romeo"), server.new_user("juliet")
    async with session(server, *romeo) as r, session(server, *juliet) as j:
        await make_contacts(r, j)
    return [
        await stack.enter_async_context(device(server, *login, resource))
        for login in (romeo, juliet)
        for resource in ("phone", "laptop")
    ]


async def test_every_device_publishes_keys_that_the_others_find(server):
    async with AsyncExitStack() as stack:
        phone, laptop, her_phone, her_laptop = await four_devices(server, stack)
        hers = await phone.devices_of(her_phone.bare_jid)
        assert len(hers) == 2
        assert await laptop.devices_of(her_phone.bare_jid) == hers
        assert len(await her_laptop.devices_of(phone.bare_jid)) == 2


@pytest.mark.parametrize("version", [OLD, NEW], ids=["0.3", "omemo:2"])
async def test_a_secret_reaches_every_device_of_both_and_no_one_else(server, version):
    async with AsyncExitStack() as stack:
        phone, laptop, her_phone, her_laptop = await four_devices(server, stack)
        await phone.says(her_phone.bare_jid, "My ears have not yet drunk", version)
        expected = ("My ears have not yet drunk", version)
        assert await her_phone.hears() == expected
        assert await her_laptop.hears() == expected
        assert await laptop.overhears() == expected
        await her_laptop.says(phone.bare_jid, "How camest thou hither?", version)
        expected = ("How camest thou hither?", version)
        assert await phone.hears() == expected
        assert await laptop.hears() == expected
        assert await her_phone.overhears() == expected
