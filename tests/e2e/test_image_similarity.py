"""`examples/image_similarity`: the network made as its page says, frames indexed, parts of others found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from command import environment
from littoral.demo.quantized import kept_model
from supervised import short_folder
from tracked import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("demo")]
EXAMPLE = ROOT / "examples/image_similarity"


def run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(EXAMPLE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=560)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(1200)
def test_parts_of_pictures_are_found(installation: Path) -> None:
    with short_folder() as made:
        run("make.py", made)
        assert kept_model(made) is not None
        figures = json.loads(run("run.py", "--made", made, "--json"))
        assert (figures["indexed"], figures["asked"]) == (251, 100)
        assert figures["same_folder"] >= 99
        assert figures["score_of_neighbours"] >= 0.95 > 0.7 >= figures["score_of_others_max"]
        own = made / "own"
        for i, way in enumerate(Image.Transpose):
            picture = made / "frames" / "bikes" / "000000.jpg"
            (own / "turned").mkdir(parents=True, exist_ok=True)
            with Image.open(picture) as image:
                image.transpose(way).save(own / "turned" / f"{i}.png")
        lines = run("run.py", own, "--made", made).splitlines()
        assert [line.split()[0] for line in lines[:-1]] == [f"turned/{i}.png" for i in (1, 3, 5)]
        assert json.loads(lines[-1])["score_of_others_max"] == 0
