"""Fixtures of every test here: one server for each file, and its log beside each failure.

Not one for all: a server slows down an address from which log-ins fail again and again, and every
test that sees one fail comes from the same address.
"""

import pytest

from interop.servers import chosen


@pytest.fixture(scope="module")
def server():
    """The server under test, started once a file; every test makes its own accounts on it."""
    running = chosen()()
    try:
        yield running.start()
    finally:
        running.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    fixtures = getattr(item, "funcargs", {})
    servers = [fixtures["server"]] if fixtures.get("server") else []
    for name in ("network", "untrusted"):
        servers += fixtures[name].servers if fixtures.get(name) else []
    for server in servers if report.failed else []:
        report.sections.append((f"the end of {server.name}'s log", server.log()[-3000:]))
    return report
