"""aioxmpp's own end-to-end tests, which it runs against Prosody, ejabberd and Metronome, run against us.

They are not ours and not copied: scripts/setup.sh takes them from Debian's source package.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from interop.servers import chosen

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / ".venv" / "aioxmpp-tests"
WITHIN = 540
# The tests of ad-hoc commands come first and use fewer accounts than this.
ADMINISTRATORS = 40

# What may be skipped: a part of aioxmpp's own reason, and ours.
EXPECTED_SKIPS = {
    "this test breaks with SM": "aioxmpp's word for tests of its own that stream management makes pointless",
    "'urn:xmpp:http:upload:0'": "uploads are not part of the server yet",
    "quirks#no-adhoc-ping": "the command to be pinged is an invention of Prosody's; XEP-0199 does the same",
    "Quirk.NO_ADHOC_PING": "the same",
}


class WithAdministrators(chosen()):
    """The server under test, where the first clients are administrators: others are told of no commands (XEP-0050)."""

    administrators = [f"aio-{number}" for number in range(ADMINISTRATORS)]

    def configure(self):
        super().configure()
        if self.name == "posthaste":
            # They ask every service of the host what it is, and a component that nobody connects is no answer to them.
            text = self.config.read_text()
            self.config.write_text(text[: text.index("[component.")])


@pytest.fixture(scope="module")
def server():
    running = WithAdministrators()
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture(scope="module")
def outcomes(server, tmp_path_factory):
    """Every test of theirs: (name, outcome, why), and what pytest printed."""
    if not (SOURCE / "tests").is_dir():
        pytest.skip("aioxmpp's tests are not here: scripts/setup.sh test says why")
    if server.name != "posthaste":
        pytest.skip("accounts are made with our command")
    folder = tmp_path_factory.mktemp("aioxmpp")
    settings, report = folder / "e2etest.ini", folder / "report.xml"
    settings.write_text(f"""
[global]
provisioner = aioxmpp_accounts.FreshAccounts
timeout = 20

[aioxmpp_accounts.FreshAccounts]
domain = {server.domain}
port = {server.port}
add = {server.binary} --config {server.config} user add
no_verify = true
quirks = ["#no-adhoc-ping"]
""")
    tests = sorted(str(path.relative_to(SOURCE)) for path in SOURCE.glob("tests/**/test_e2e.py"))
    assert tests, f"no end-to-end tests in {SOURCE}"
    ran = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "aioxmpp.e2etest", "--e2etest-config", str(settings),
            "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "ignore", "-c", os.devnull,
            "--rootdir", str(SOURCE), "-q", "--tb=short", f"--junitxml={report}", *tests,
        ],
        cwd=SOURCE, env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(SOURCE)])},
        capture_output=True, text=True, timeout=WITHIN, check=False,
    )
    assert report.exists(), ran.stdout[-5000:] + ran.stderr[-5000:]
    found = []
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        troubles = [child for child in case if child.tag in ("failure", "error", "skipped")]
        if not troubles:
            found.append((name, "passed", ""))
        found += [(name, child.tag, child.get("message") or "") for child in troubles]
    return found, ran.stdout


def test_what_aioxmpp_expects_of_a_server_holds(outcomes):
    found, printed = outcomes
    bad = [name for name, outcome, _ in found if outcome in ("failure", "error")]
    assert not bad, printed[-8000:]
    # Fewer would mean that they are no longer found or no longer run.
    assert sum(outcome == "passed" for _, outcome, _ in found) >= 63, printed[-3000:]


def test_aioxmpp_skips_only_what_we_know_the_reason_of(outcomes):
    found, _ = outcomes
    unexplained = [
        (name, why)
        for name, outcome, why in found
        if outcome == "skipped" and not any(reason in why for reason in EXPECTED_SKIPS)
    ]
    assert not unexplained
