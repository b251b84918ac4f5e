"""DeiT-Tiny, MiniLM-L6, SegFormer-B0 and Whisper-Tiny's encoder with random weights, as exporters write them."""

import numpy as np
from onnx import TensorProto

from bench.graph_layers import Layers

__all__ = ["deit_tiny", "minilm_l6", "segformer_b0", "whisper_tiny_encoder"]

# Size, heads, reduction of keys by stage: Xie et al., SegFormer (arXiv 2105.15203), table 6; two blocks each.
STAGES = ((32, 1, 8), (64, 2, 4), (160, 5, 2), (256, 8, 1))
SIDE, DECODED, CLASSES = 256, 256, 20


class Encoder(Layers):
    """Layers of attention and a feed-forward step over tokens of one size."""

    def __init__(self, size: int, heads: int, *, epsilon: float = 1e-12, key_bias: bool = True) -> None:
        super().__init__()
        self.size = size
        self.heads = heads
        self.epsilon = epsilon
        self.key_bias = key_bias

    def normed(self, x: str) -> str:
        return self.norm(x, self.size, self.epsilon)

    def split(self, x: str, tokens: int, *perm: int) -> str:
        return self.transpose(self.reshape(x, 1, tokens, self.heads, self.size // self.heads), *perm)

    def attention(self, x: str, tokens: int, *, seen: str = "", keys: str = "", key_tokens: int = 0) -> str:
        """seen: added to the scores. keys: what is attended to, x itself if empty."""
        keys, key_tokens, scale = keys or x, key_tokens or tokens, self.weight((self.size // self.heads) ** -0.25)
        query = self.split(self.dense(x, self.size, self.size), tokens, 0, 2, 1, 3)
        key = self.split(self.dense(keys, self.size, self.size, bias=self.key_bias), key_tokens, 0, 2, 3, 1)
        value = self.split(self.dense(keys, self.size, self.size), key_tokens, 0, 2, 1, 3)
        scores = self.node("MatMul", self.node("Mul", query, scale), self.node("Mul", key, scale))
        if seen:
            scores = self.node("Add", scores, seen)
        y = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        y = self.reshape(self.transpose(y, 0, 2, 1, 3), 1, tokens, self.size)
        return self.dense(y, self.size, self.size)

    def feed_forward(self, x: str) -> str:
        return self.dense(self.gelu(self.dense(x, self.size, 4 * self.size)), 4 * self.size, self.size)

    def layer(self, x: str, tokens: int) -> str:
        """With the norms before."""
        x = self.node("Add", self.attention(self.normed(x), tokens), x)
        return self.node("Add", self.feed_forward(self.normed(x)), x)


def deit_tiny() -> bytes:
    """224 × 224 in patches of 16, two further tokens. 1,261 M multiply-adds."""
    net, tokens = Encoder(192, 3), 198
    patches = net.conv(net.input("pixels", 1, 3, 224, 224), 3, net.size, 16, stride=16, pads=(0, 0))
    x = net.transpose(net.reshape(patches, 1, net.size, tokens - 2), 0, 2, 1)
    x = net.node("Concat", net.random(1, 1, net.size), net.random(1, 1, net.size), x, axis=1)
    x = net.node("Add", x, net.random(1, tokens, net.size))
    for _ in range(12):
        x = net.layer(x, tokens)
    first = net.node("Gather", net.normed(x), net.weight(0, np.int64), axis=1)
    return net.model("deit_tiny", net.classifier(first, net.size, 1000), 1, 1000)


def minilm_l6() -> bytes:
    """64 tokens, norms behind. 689 M multiply-adds."""
    net, tokens = Encoder(384, 12), 64
    ids = net.input("input_ids", 1, tokens, kind=TensorProto.INT64)
    mask = net.input("attention_mask", 1, tokens, kind=TensorProto.INT64)
    hidden = net.node("Sub", net.node("Cast", net.reshape(mask, 1, 1, 1, tokens), to=TensorProto.FLOAT), net.weight(1))
    hidden = net.node("Mul", hidden, net.weight(3e38))
    x = net.node("Gather", net.random(30522, net.size), ids)
    x = net.normed(net.node("Add", x, net.random(1, tokens, net.size)))
    for _ in range(6):
        x = net.normed(net.node("Add", net.attention(x, tokens, seen=hidden), x))
        x = net.normed(net.node("Add", net.feed_forward(x), x))
    return net.model("minilm_l6", x, 1, tokens, net.size)


def whisper_tiny_encoder() -> bytes:
    """80 bands of 30 s. 18,469 M multiply-adds."""
    net, tokens = Encoder(384, 6, epsilon=1e-5, key_bias=False), 1500
    x = net.gelu(net.conv(net.input("bands", 1, 80, 2 * tokens), 80, net.size, 3, axes=1))
    x = net.gelu(net.conv(x, net.size, net.size, 3, stride=2, axes=1))
    x = net.node("Add", net.transpose(x, 0, 2, 1), net.random(tokens, net.size))
    for _ in range(4):
        x = net.layer(x, tokens)
    return net.model("whisper_tiny_encoder", net.normed(x), 1, tokens, net.size)


def segformer_b0() -> bytes:
    """256 × 256, 20 classes for each of 64 × 64 places. 1,766 M multiply-adds."""
    net = Encoder(3, 1, epsilon=1e-5)
    x, side, decoded = net.input("pixels", 1, 3, SIDE, SIDE), SIDE, []
    for i, (size, heads, reduction) in enumerate(STAGES):
        kernel, stride = (7, 4) if i == 0 else (3, 2)
        x, side = net.conv(x, net.size, size, kernel, stride=stride), side // stride
        net.size, net.heads, tokens = size, heads, side * side
        x = net.normed(net.transpose(net.reshape(x, 1, size, tokens), 0, 2, 1))
        for _ in range(2):
            x = _segformer_block(net, x, side, reduction)
        x = net.transpose(net.reshape(net.normed(x), 1, side, side, size), 0, 3, 1, 2)
        decoded.append(_decoded(net, x, tokens, side))
    x = net.node("Relu", net.conv(net.node("Concat", *decoded[::-1], axis=1), 4 * DECODED, DECODED, 1))
    return net.model("segformer_b0", net.conv(x, DECODED, CLASSES, 1), 1, CLASSES, SIDE // 4, SIDE // 4)


def _segformer_block(net: Encoder, x: str, side: int, reduction: int) -> str:
    size, tokens = net.size, side * side
    normed = keys = net.normed(x)
    if reduction > 1:
        keys = net.reshape(net.transpose(normed, 0, 2, 1), 1, size, side, side)
        keys = net.conv(keys, size, size, reduction, stride=reduction, pads=(0, 0))
        keys = net.normed(net.transpose(net.reshape(keys, 1, size, tokens // reduction**2), 0, 2, 1))
    x = net.node("Add", net.attention(normed, tokens, keys=keys, key_tokens=tokens // reduction**2), x)
    y = net.transpose(net.dense(net.normed(x), size, 4 * size), 0, 2, 1)
    y = net.conv(net.reshape(y, 1, 4 * size, side, side), 4 * size, 4 * size, 3, groups=4 * size)
    y = net.transpose(net.reshape(y, 1, 4 * size, tokens), 0, 2, 1)
    return net.node("Add", net.dense(net.gelu(y), 4 * size, size), x)


def _decoded(net: Encoder, x: str, tokens: int, side: int) -> str:
    """One stage for the head: of its size, at its resolution."""
    y = net.transpose(net.reshape(x, 1, net.size, tokens), 0, 2, 1)
    y = net.reshape(net.transpose(net.dense(y, net.size, DECODED), 0, 2, 1), 1, DECODED, side, side)
    sizes = net.weight([1, DECODED, SIDE // 4, SIDE // 4], np.int64)
    modes = {"coordinate_transformation_mode": "half_pixel", "mode": "linear", "nearest_mode": "floor"}
    return net.node("Resize", y, "", "", sizes, **modes)
