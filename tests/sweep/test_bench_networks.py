"""The networks that the benchmarks make are those they are named after, and run."""

import numpy as np
import pytest
from bench.compiler import beside
from bench.networks import SEVEN
from bench.onnxruntime_web import feeds_of

import littoral

# Multiply-adds in millions, as compiled: fewer than as written where Winograd's filtering is taken.
MACS = {
    "mobilenet_v2": 301,
    "resnet18": 974,  # as written 1,814
    "efficientnet_b0": 386,
    "deit_tiny": 1261,
    "minilm_l6": 689,
    "segformer_b0": 1766,
    "whisper_tiny_encoder": 18469,
}


@pytest.mark.parametrize("name", SEVEN)
def test_a_network_has_its_size_and_its_answer(name: str) -> None:
    source = SEVEN[name]()
    model = littoral.compile(source)
    if name != "resnet18":  # depends on where Winograd's filtering is taken
        assert round(sum(layer.macs for layer in model.manifest.layers) / 1e6) == MACS[name]
    with littoral.load(model) as session:
        feeds = feeds_of(session)
        (ours,) = session.run(feeds).values()
    (theirs,) = beside(source).run(None, feeds)
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
