"""The Open Inference Protocol v2: models and pipelines as its clients see them, over HTTP and gRPC."""

from littoral.node.oip.grpc_door import grpc_interface
from littoral.node.oip.http import oip_protocol
from littoral.node.oip.inference import Inference

__all__ = ["Inference", "grpc_interface", "oip_protocol"]
