"""`examples/tract_agent`, as `make guests-all` leaves it: an engine of somebody else's, within the ordinary bounds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import littoral
from littoral import settings
from littoral.errors import AgentError
from littoral.node.site import read_site
from littoral.node.wiring import check_site
from littoral.runtime.agents import Agent
from littoral.runtime.foreign_code import STRANGERS, check_code_size
from needs import need
from onnx_models import squeeze_excite
from tracked import ROOT

BUILT = ROOT / "examples/tract_agent/tract.wasm"
BEARING = ROOT / "examples/vibration/bearing.onnx"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache of machine code: it takes half a minute to be made."""
    need(BUILT.exists(), "examples/tract_agent/tract.wasm, which `make guests-all` builds")
    folder = tmp_path_factory.mktemp("tract")
    with settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")):
        yield


@pytest.fixture
def installation() -> None:
    """Not one for each test."""


def test_it_keeps_to_the_bounds_of_strangers() -> None:
    assert check_code_size(BUILT.read_bytes()) <= STRANGERS.code_bytes


@pytest.mark.parametrize("onnx", [BEARING.read_bytes(), squeeze_excite(32)], ids=["bearing", "squeeze and excite"])
def test_it_computes_what_the_compiled_model_does(onnx: bytes) -> None:
    with Agent.open(BUILT, files={"model": onnx}) as agent, littoral.load(littoral.compile(onnx)) as session:
        (port,), (ours,) = agent.input, session.inputs
        assert port.shape == ours.shape
        rng = np.random.default_rng(4)
        for _ in range(3):
            x = rng.standard_normal(port.shape).astype(np.float32)
            (wanted,) = session.run({ours.name: x}).values()
            np.testing.assert_allclose(agent.infer({"x": x})["y"].ravel(), wanted.ravel(), rtol=2e-5, atol=2e-6)


def test_a_file_that_is_no_model_is_refused_by_the_agent() -> None:
    with pytest.raises(AgentError):
        Agent.open(BUILT, files={"model": b"no model"})


def test_a_node_runs_it(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        f'[agents.network]\npath = "{BUILT}"\nfiles = {{ model = "{BEARING}" }}\n'
        '[pipelines.embed]\nsteps = [{ agent = "network" }, { step = "normalize" }]\n'
    )
    (pipeline,) = check_site(read_site(site)).values()
    assert pipeline.steps[0].takes == "`x` float32[1, 256]"
