"""Tests that rest on the time of a machine (threads, processes, links) are run once more in CI when they fail.

Both outcomes are told: what failed once and then passed has a part of its own in the summary, with why it failed.
All fixtures are made anew before, those of the module too: what went wrong may be in them.
"""

from collections.abc import Sequence

import pytest
from _pytest.runner import runtestprotocol

from littoral import settings

KINDS = frozenset({"contract", "e2e", "cli", "docs"})
FAILED_BEFORE = "failed_before"
LINES_MAX = 60


def _is_run_again(item: pytest.Item) -> bool:
    return settings.boolean("LITTORAL_REQUIRE_ALL") and not KINDS.isdisjoint(item.path.parts)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not _is_run_again(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if why := _why_failed(reports):
        item.user_properties.append((FAILED_BEFORE, why + _torn_down(item)))
        item._initrequest()  # type: ignore[attr-defined]  # fixtures of the test are made anew
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _torn_down(item: pytest.Item) -> str:
    """All fixtures; what that failed with, or nothing."""
    try:
        item.session._setupstate.teardown_exact(None)  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001  whatever a fixture raises
        return f"\nand its fixtures did not end: {error!r}"
    return ""


def _why_failed(reports: Sequence[pytest.TestReport]) -> str:
    said = "\n".join(report.longreprtext for report in reports if report.failed)
    return "\n".join(said.splitlines()[-LINES_MAX:])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = {
        report.nodeid: why
        for report in terminalreporter.getreports("passed")
        for name, why in report.user_properties
        if name == FAILED_BEFORE
    }
    if passed:
        terminalreporter.section("failed once, passed when run again")
        for test, why in passed.items():
            terminalreporter.line(f"{test}\n{why}\n")
