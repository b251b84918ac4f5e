"""`littoral logs`: what it prints of a running node."""

import json
import logging
import subprocess
from collections.abc import Iterator

import pytest

from command import command, environment
from command import littoral as cli
from littoral.telemetry import Log, LogOptions
from node_fixture import Served, node_in_thread
from supervised import short_folder
from waiting import until

say = logging.getLogger("littoral.mqtt")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with short_folder() as folder, node_in_thread(folder) as found:
        found.node.log = log = Log.start(LogOptions(format="json", lines_per_s=1000))
        yield found
        log.stop()


def test_lines_are_printed_as_text_and_as_json(served: Served) -> None:
    say.warning("`frames`: answer is lost")
    say.info("all well")
    text = cli("logs", "--url", served.url, "--part", "mqtt")
    assert text.code == 0, text.err
    first, second = text.out.splitlines()
    assert first.endswith("Z warning mqtt      `frames`: answer is lost")
    assert second.endswith("Z info    mqtt      all well")
    done = cli("logs", "--url", served.url, "--level", "warning", "--part", "mqtt", "-n", "1", "--json")
    line = json.loads(done.out)
    assert (line["level"], line["part"], line["message"]) == ("warning", "mqtt", "`frames`: answer is lost")


def test_what_cannot_be_is_told(served: Served) -> None:
    done = cli("logs", "--url", served.url, "--level", "loud")
    assert (done.code, done.err) == (4, "littoral: level `loud`, must be one of debug, info, warning, error\n")


def test_lines_are_followed_until_interrupted(served: Served) -> None:
    arguments = command("logs", "--url", served.url, "--follow", "--part", "mqtt", "--json")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        said: list[str] = []

        def is_there() -> bool:
            say.warning("line %d", len(said))
            assert process.stdout is not None
            said.append(process.stdout.readline())
            return "line" in said[-1]

        until(is_there)
        process.terminate()
