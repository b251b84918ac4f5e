"""Every error Littoral raises on purpose, grouped by whose fault it is.

    LittoralError
    ├── ModelError                    a model file is at fault
    │   ├── OnnxFormatError           the bytes are no readable ONNX model
    │   ├── UnsupportedOperatorError  the model needs an operator, or a form of one, that the compiler lacks
    │   ├── ShapeError                tensors that do not fit together, or a dimension left open
    │   └── ArtifactError             the bytes are no compiled model or agent, or their manifest is wrong
    ├── RequestError                  the caller is at fault
    │   ├── InputError                an input of the wrong name, dtype, shape or content
    │   ├── NotFoundError             nothing here has this name or id
    │   ├── ConflictError             the name is taken
    │   ├── TooLargeError             over a stated limit
    │   ├── ForbiddenError            not for this caller
    │   ├── QuotaError                over what this tenant may have
    │   ├── UnauthorizedError         who calls did not say who it is, or not truly
    │   ├── TooOftenError             too many of these from one address or tenant: wait
    │   ├── SlowRequestError          the request did not arrive in time
    │   └── NotOfferedError           a known request that this version does not serve
    ├── NodeError                     the machine, its files or its load are at fault
    │   ├── SettingError              a setting, environment variable or site file is wrong
    │   ├── SandboxError              a guest failed
    │   │   ├── TrapError             it trapped (out of bounds, unreachable, stack …)
    │   │   ├── DeadlineError         it did not finish in time
    │   │   ├── MemoryCapError        it needs more memory than it was given
    │   │   └── AgentError            it answered with an error of its own
    │   ├── ShardError                a vector shard failed
    │   ├── UnavailableError          not ready, stopping or restarting: try again
    │   └── SetupError                something that must be installed is missing
    ├── PeerError                     another node or the network is at fault
    └── TrustError                    a digest or signature does not match

A message says which thing, both values, and where; `hint` says what to do. Names stand in backticks.
"""

from collections.abc import Sequence

__all__ = [
    "AgentError",
    "ArtifactError",
    "ConflictError",
    "DeadlineError",
    "ForbiddenError",
    "InputError",
    "LittoralError",
    "MemoryCapError",
    "ModelError",
    "NodeError",
    "NotFoundError",
    "NotOfferedError",
    "OnnxFormatError",
    "PeerError",
    "QuotaError",
    "RequestError",
    "SandboxError",
    "SettingError",
    "SetupError",
    "ShapeError",
    "ShardError",
    "SlowRequestError",
    "TooLargeError",
    "TooOftenError",
    "TrapError",
    "TrustError",
    "UnauthorizedError",
    "UnavailableError",
    "UnsupportedOperatorError",
]


class LittoralError(Exception):
    """Root of the tree.

    message: one line, no full stop. hint: what the reader can do about it, or None.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} · hint: {self.hint}" if self.hint else self.message


class ModelError(LittoralError):
    """A model file is at fault."""


class OnnxFormatError(ModelError):
    """The bytes are no readable ONNX model."""


class UnsupportedOperatorError(ModelError):
    """The model needs an operator, or a form of one, that the compiler lacks."""

    def __init__(
        self,
        operator: str,
        node: str,
        *,
        why: str = "is not supported",
        opset: int | None = None,
        attribute: str | None = None,
        supported: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        what = f"`{operator}`" + (f" (opset {opset})" if opset is not None else "")
        part = f" attribute `{attribute}`" if attribute else ""
        told = f"; supported: {', '.join(supported)}" if supported else ""
        super().__init__(f"node `{node}`: {what}{part} {why}{told}", hint=hint)
        self.operator = operator
        self.node = node
        self.opset = opset
        self.attribute = attribute
        self.supported = tuple(supported)


class ShapeError(ModelError):
    """Tensors that do not fit together, or a dimension left open."""


class ArtifactError(ModelError):
    """The bytes are no compiled model or agent, or their manifest is wrong."""


class RequestError(LittoralError):
    """The caller is at fault."""


class InputError(RequestError):
    """An input of the wrong name, dtype, shape or content."""


class NotFoundError(RequestError):
    """Nothing here has this name or id."""


class ConflictError(RequestError):
    """The name is taken."""


class TooLargeError(RequestError):
    """Over a stated limit."""


class ForbiddenError(RequestError):
    """Not for this caller."""


class QuotaError(RequestError):
    """Over what this tenant may have."""


class UnauthorizedError(RequestError):
    """Who calls did not say who it is, or said what is not true."""


class TooOftenError(RequestError):
    """Too many of these came from one address, or of one tenant. retry_after_s: when the next is looked at."""

    def __init__(self, message: str, *, retry_after_s: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class SlowRequestError(RequestError):
    """The request did not arrive in time."""


class NotOfferedError(RequestError):
    """A known request that this version does not serve."""


class NodeError(LittoralError):
    """The machine, its files or its load are at fault."""


class SettingError(NodeError):
    """A setting, environment variable or site file is wrong."""


class SandboxError(NodeError):
    """A guest failed."""


class TrapError(SandboxError):
    """The guest trapped; `code` is WebAssembly's name of the trap."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class DeadlineError(SandboxError):
    """The guest did not finish in time."""


class MemoryCapError(SandboxError):
    """The guest needs more memory than it was given."""


class AgentError(SandboxError):
    """The agent answered with an error of its own: `number` is its −1…−999."""

    def __init__(self, message: str, *, number: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.number = number


class ShardError(NodeError):
    """A vector shard failed."""


class UnavailableError(NodeError):
    """Not ready, full, stopping or restarting: try again, after `retry_after_s` seconds at the earliest."""

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class SetupError(NodeError):
    """Something that must be installed is missing."""


class PeerError(LittoralError):
    """Another node or the network is at fault."""


class TrustError(LittoralError):
    """A digest or signature does not match."""
