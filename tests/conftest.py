"""Fixtures of every test here: one server for the whole run, and its log beside each failure."""

import pytest

from interop.servers import chosen


@pytest.fixture(scope="session")
def server():
    """The server under test, started once; every test makes its own accounts on it."""
    running = chosen()()
    try:
        yield running.start()
    finally:
        running.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and server is not None:
        report.sections.append((f"the end of {server.name}'s log", server.log()[-3000:]))
    return report
