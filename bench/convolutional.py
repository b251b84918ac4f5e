"""MobileNetV2, ResNet-18 and EfficientNet-B0 at 224 × 224, batch normalisation folded in, with random weights."""

from bench.graph_layers import Layers

__all__ = ["SIDE", "efficientnet_b0", "mobilenet_v2", "resnet18"]

SIDE = 224
CLASSES = 1000
STEM, HEAD = 32, 1280
# Expansion, channels, blocks, stride: Sandler et al., MobileNetV2 (arXiv 1801.04381), table 2.
MOBILE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# The same and the kernel: Tan and Le, EfficientNet (arXiv 1905.11946), table 1.
EFFICIENT = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
# Channels and stride of each stage of two blocks: He et al., Deep Residual Learning (arXiv 1512.03385), table 1.
RESIDUAL = ((64, 1), (128, 2), (256, 2), (512, 2))


def mobilenet_v2() -> bytes:
    """MobileNetV2 1.0, ReLU6 as `Clip`. 301 M multiply-adds."""
    net = Layers()
    x, width = net.relu6(net.conv(net.input("pixels", 1, 3, SIDE, SIDE), 3, STEM, 3, stride=2)), STEM
    for expand, channels, blocks, stride in MOBILE:
        for i in range(blocks):
            x = _mobile_block(net, x, width, channels, expand, stride if i == 0 else 1)
            width = channels
    x = net.relu6(net.conv(x, width, HEAD, 1))
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model("mobilenet_v2", net.classifier(x, HEAD, CLASSES), 1, CLASSES)


def _mobile_block(net: Layers, x: str, taken: int, given: int, expand: int, stride: int) -> str:
    y, wide = x, taken * expand
    if expand > 1:
        y = net.relu6(net.conv(y, taken, wide, 1))
    y = net.relu6(net.conv(y, wide, wide, 3, stride=stride, groups=wide))
    y = net.conv(y, wide, given, 1)
    return net.node("Add", x, y) if stride == 1 and taken == given else y


def resnet18() -> bytes:
    """1,814 M multiply-adds as written."""
    net = Layers()
    x = net.node("Relu", net.conv(net.input("pixels", 1, 3, SIDE, SIDE), 3, 64, 7, stride=2))
    x, width = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for channels, stride in RESIDUAL:
        for i in range(2):
            step = stride if i == 0 else 1
            y = net.node("Relu", net.conv(x, width, channels, 3, stride=step))
            y = net.conv(y, channels, channels, 3)
            same = x if step == 1 and width == channels else net.conv(x, width, channels, 1, stride=step)
            x, width = net.node("Relu", net.node("Add", y, same)), channels
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model("resnet18", net.classifier(x, width, CLASSES), 1, CLASSES)


def efficientnet_b0() -> bytes:
    """386 M multiply-adds. Even sizes are padded behind alone where the stride is 2, as in the published weights."""
    net = Layers()
    pixels = net.input("pixels", 1, 3, SIDE, SIDE)
    x, width = net.swish(net.conv(pixels, 3, STEM, 3, stride=2, pads=(0, 1))), STEM
    for expand, channels, blocks, stride, kernel in EFFICIENT:
        for i in range(blocks):
            x = _efficient_block(net, x, width, channels, expand, stride if i == 0 else 1, kernel)
            width = channels
    x = net.swish(net.conv(x, width, HEAD, 1))
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model("efficientnet_b0", net.classifier(x, HEAD, CLASSES), 1, CLASSES)


def _efficient_block(net: Layers, x: str, taken: int, given: int, expand: int, stride: int, kernel: int) -> str:
    y, wide = x, taken * expand
    if expand > 1:
        y = net.swish(net.conv(y, taken, wide, 1))
    pads = (kernel // 2, kernel // 2) if stride == 1 else ((kernel - 2) // 2, (kernel - 1) // 2)
    y = net.swish(net.conv(y, wide, wide, kernel, stride=stride, groups=wide, pads=pads))
    squeezed = net.swish(net.conv(net.node("GlobalAveragePool", y), wide, taken // 4, 1))
    y = net.node("Mul", y, net.node("Sigmoid", net.conv(squeezed, taken // 4, wide, 1)))
    y = net.conv(y, wide, given, 1)
    return net.node("Add", x, y) if stride == 1 and taken == given else y
