"""Agents, models and steps that fit together only: taken between two requests, or not at all."""

import signal
from collections.abc import Iterator

import pytest

import littoral as package
from littoral.artifact import Model, Store
from onnx_models import squeeze_excite
from page_pictures import draw, jpeg
from raw_http import send
from supervised import short_folder
from upped import Changing, asked_all_along
from waiting import until

pytestmark = pytest.mark.e2e

PICTURE = jpeg(draw(0, 0))
STEPS = '[pipelines.embed]\nsteps = [{ agent = "decode" }, { model = "embedder" }, { step = "normalize" }]'
TOGETHER = {
    "width = 32, height = 32": "width = 16, height = 16",
    'path = "embedder.wasm"': 'path = "small.wasm"',
    STEPS: STEPS.replace(', { step = "normalize" }', ""),
}
PREPROCESS = {"agent": "builtin:image", "config": {"width": 16, "height": 16}}


@pytest.fixture
def up() -> Iterator[Changing]:
    with short_folder() as folder:
        made = Changing(folder)
        yield made
        made.end(signal.SIGKILL)


def saved(up: Changing, name: str, model: Model) -> None:
    Store().record(model.digest)
    model.save(up.site.with_name(name))


def length(up: Changing) -> tuple[int, bool]:
    """Status, and whether the embedding has the length 1."""
    found = send(up.address, "POST", "/pipelines/embed", PICTURE)
    ((values,),) = (one["data"] for one in found.json["result"]["outputs"].values())
    return found.status, abs(sum(value * value for value in values) - 1) < 1e-4


def test_an_agent_a_model_and_steps_count_from_the_same_request_on(up: Changing) -> None:
    """Each of them alone does not fit, and leaves all as it was."""
    up.start()
    pid = up.pid()
    saved(up, "small.wasm", package.compile(squeeze_excite(16), name="embedder"))
    text = up.text
    for before, after in list(TOGETHER.items())[:2]:
        code, err = up.apply(text.replace(before, after))
        assert code != 0, err
    for before, after in TOGETHER.items():
        text = text.replace(before, after)
    with asked_all_along(lambda: length(up)) as seen:
        until(lambda: (200, True) in seen)
        code, out = up.apply(text)
        assert (code, "restart" in out) == (0, False), out
        until(lambda: (200, False) in seen)
        code, out = up.apply(up.text)
        assert (code, "restart" in out) == (0, False), out
        until(lambda: seen[-1] == (200, True))
    assert set(seen) == {(200, True), (200, False)}
    assert send(up.address, "POST", "/pipelines/similar", PICTURE).status == 200
    assert up.pid() == pid


BROUGHT = '\n[models.brings]\npath = "brings.wasm"\n'


def test_a_model_comes_and_goes_with_the_pipeline_that_it_brings_along(up: Changing) -> None:
    """One of its name in the file takes that one's place, and gives it back."""
    up.start()
    pid = up.pid()
    model = package.compile(squeeze_excite(16), name="brings", preprocess=PREPROCESS)
    saved(up, "brings.wasm", model)
    own = BROUGHT + '\n[pipelines.brings]\nsteps = [{ agent = "decode" }]\n'

    def asked() -> tuple[int, list[list[int]]]:
        found = send(up.address, "POST", "/pipelines/brings", PICTURE)
        shapes = [one["shape"] for one in found.json["result"]["outputs"].values()] if found.status == 200 else []
        return found.status, shapes

    with asked_all_along(lambda: length(up)) as seen:
        for more, shape in ((BROUGHT, [1, 5]), (own, [1, 3, 32, 32]), (BROUGHT, [1, 5])):
            code, out = up.apply(up.text + more)
            assert (code, "restart" in out) == (0, False), out
            assert asked() == (200, [shape]), more
        assert up.apply(up.text)[0] == 0
        assert asked()[0] == 404
        assert "brings.preprocess" not in {one["name"] for one in send(up.address, "GET", "/api/agents").json}
    assert set(seen) == {(200, True)}
    assert up.pid() == pid


def test_instances_quarantine_and_bounds_of_agents_count_while_it_serves(up: Changing) -> None:
    up.start()
    pid = up.pid()
    text = up.text.replace(
        "deadline_ms = 5000\ninstances = { min = 1, max = 2 }",
        "deadline_ms = 5000\ninstances = { min = 2, max = 3 }\nquarantine = { failures = 2 }\ncompile = { time_s = 9 }",
    )
    with asked_all_along(lambda: length(up)) as seen:
        code, out = up.apply(text)
        assert (code, "restart" in out) == (0, False), out
        assert all(f"hot      agents.decode.{key}" in out for key in ("instances", "quarantine", "compile")), out
    (told,) = (one for one in send(up.address, "GET", "/api/agents").json if one["name"] == "decode")
    assert (told["instances"]["min"], told["instances"]["max"]) == (2, 3)
    assert set(seen) == {(200, True)}
    assert up.pid() == pid
