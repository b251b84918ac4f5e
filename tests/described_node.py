"""A node with tokens, and schemathesis that asks all that an OpenAPI document says, as a process of its own."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from fake_upstream import Scripted, fake_upstream
from http_seeds import write_fuzzed_site
from littoral import settings
from littoral.clock import SYSTEM
from littoral.node.access.roles import Role
from littoral.settings import environment
from littoral.web.access import guessing
from littoral.web.access.tokens import new_token, write_tokens
from node_fixture import Served, node_in_thread
from supervised import short_folder
from tracked import ROOT

__all__ = ["DescribedNode", "described_node", "schemathesis"]

ENDLESS = ("/api/events", "/api/builds", "/pipelines/{name}/stream", "/api/logs", "/api/backup")
"""Streams, which do not end by themselves."""


class DescribedNode(NamedTuple):
    served: Served
    token: str

    def asked(self, *options: str, without: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        """What schemathesis says. without: paths, beside those whose answers do not end."""
        tokens = {"LITTORAL_TEST_TOKEN": self.token}
        return schemathesis(self.served.url, "schemathesis.toml", tokens, *options, without=(*ENDLESS, *without))


def schemathesis(
    url: str, config: str, tokens: Mapping[str, str], *options: str, without: Sequence[str] = ()
) -> "subprocess.CompletedProcess[str]":
    """Asks all that `/api/openapi.json` of a server says. config: a file of this folder, with tokens by variable."""
    excluded = [word for path in without for word in ("--exclude-path", path)]
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests" / config)]
    return subprocess.run(
        [*command, "run", f"{url}/api/openapi.json", *excluded, *options],
        env={**environment(), **tokens, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )


@contextlib.contextmanager
def described_node() -> Iterator[DescribedNode]:
    """Wrong tokens are refused one by one, without the wait that guesses otherwise cost: each is to be seen."""
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        pytest.MonkeyPatch.context() as patched,
        contextlib.ExitStack() as entered,
    ):
        patched.setattr(guessing, "BURST_COUNT", 1 << 30)
        token, kept = new_token("admin", [Role.ADMIN], SYSTEM.wall())
        write_tokens(folder / "tokens.json", [kept])
        fake = entered.enter_context(fake_upstream())
        fake.otherwise = Scripted("an answer")
        site = write_fuzzed_site(folder, fake.url)
        site.write_text(site.read_text() + "\n[auth]\n")
        with node_in_thread(folder, site=site) as served:
            yield DescribedNode(served, token)
