"""How nodes speak to each other, as an interface: requests, fan-outs, messages, who is there."""

from littoral.transport.interface import Handler, OnLiveness, OnMessage, Reply, Transport

__all__ = ["Handler", "OnLiveness", "OnMessage", "Reply", "Transport"]
