"""Models of which one layer was trained again: what travels is that layer."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import littoral
from attacked_server import attacked
from fleet_trust import Fleet
from integer_networks import Net, feeds_of
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName, Custom
from littoral.updates.blocks import BlockList, plan
from littoral.updates.provenance import provenance_of
from littoral.updates.trust.http_transport import HttpTransport

SHARE_MAX = 0.05
EARLY = (96, 32, 3, 3)


def network() -> bytes:
    """2.3 million weights in inverted residuals, such as MobileNetV2 has 3.5 million."""
    net = Net()
    x = net.relu6(net.conv(net.relu6(net.conv("x", 3, 32, 3, 2)), 32, 96, 3, 2))
    given = 96
    for made, wide in ((160, 576), (160, 960), (160, 960), (320, 960), (320, 960)):
        y = net.relu6(net.conv(net.relu6(net.conv(x, given, wide)), wide, wide, 3, 1, wide))
        y = net.conv(y, wide, made)
        x, given = (net.add("Add", x, y) if given == made else y), made
    return net.finish(net.relu6(net.conv(x, 320, 1280)), 1280)


def trained_again(model: bytes, dims: tuple[int, ...]) -> bytes:
    """dims: of the layer, of which there is one."""
    loaded = onnx.load_from_string(model)
    [weights] = [one for one in loaded.graph.initializer if tuple(one.dims) == dims]
    former = numpy_helper.to_array(weights)
    noise = np.random.default_rng(9).normal(size=former.shape) * 0.05 * former.std()
    weights.CopyFrom(numpy_helper.from_array((former + noise).astype("f4"), weights.name))
    return bytes(loaded.SerializeToString())


def test_an_early_layer_of_a_model_in_integers_moves_that_layer_alone(tmp_path: Path) -> None:
    """All behind it reads what comes out of it, and keeps its bytes all the same."""
    fleet, onnx_file, fit = Fleet(tmp_path), network(), tmp_path / "former.fit"
    names = []
    for version, source in enumerate((onnx_file, trained_again(onnx_file, EARLY)), 1):
        asked = littoral.Int8(feeds_of(2), fit=fit) if version == 1 else littoral.Int8(feeds_of(2), like=fit)
        wasm = littoral.compile(source, int8=asked).wasm
        blocks, name = BlockList.of(wasm).packed, f"models/classifier/{version}.wasm"
        digest = sha256(wasm).hexdigest()
        fleet.store.write_all([(tree.block_list_file(digest), blocks)])
        custom = Custom(provenance=provenance_of(wasm), blocks_sha256=sha256(blocks).hexdigest())
        assert custom.provenance.source_sha256 == sha256(source).hexdigest()
        names.append(fleet.publish(name, wasm, custom))
    with attacked(tmp_path / "served") as server:
        transport = HttpTransport(server.url)
        client = fleet.client(transport=transport)
        for name in names:
            fleet.tell(name)
            target = client.refresh().targets[name]
            have = [tmp_path / "1"] if name == names[1] else []
            client.fetch(target, tmp_path / str(ArtifactName.parse(name).version), have=have)
        path = tree.target_file(ArtifactName.parse(names[1]), target.sha256)
        share = server.counted[path] / target.length
        transport.close()
    assert target.length > 2_000_000
    assert 96 * 32 * 3 * 3 <= share * target.length <= SHARE_MAX * target.length
    assert len(blocks) < target.length / 100


def test_an_early_layer_of_a_model_in_floats_moves_that_layer_alone(tmp_path: Path) -> None:
    source = network()
    former = littoral.compile(source).wasm
    again = littoral.compile(trained_again(source, EARLY)).wasm
    (tmp_path / "former").write_bytes(former)
    pieces = plan(BlockList.of(again), [tmp_path / "former"])
    moved = sum(piece.length for piece in pieces if piece.source is None)
    layer = 4 * 96 * 32 * 3 * 3
    assert layer <= moved <= 0.05 * len(again)
