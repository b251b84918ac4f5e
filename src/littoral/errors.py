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
    │   │   └── SpentError            what may be used in this time is used up
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
    │   │   └── FullDiskError         its disk has no room for what is to be written
    │   ├── UnavailableError          not ready, stopping or restarting: try again
    │   └── SetupError                something that must be installed is missing
    ├── PeerError                     another node or the network is at fault
    │   └── UpstreamError             a service of language models did not answer, or not as it should
    └── TrustError                    a digest or signature does not match
        └── UpdateRefusedError        an update is not taken; what runs goes on
            ├── MalformedUpdateError      metadata that cannot be read, or of another kind
            ├── UnsignedUpdateError       signed by too few of the keys that may
            ├── ExpiredUpdateError        metadata whose time is over
            ├── UpdateClockError          whose time is over by one clock and not by another
            ├── ReplayedUpdateError       an earlier timestamp
            ├── RolledBackUpdateError     an earlier version of what a snapshot lists, or of a snapshot
            ├── DeploymentFellError       an earlier deployment
            ├── FastForwardError          a version so high that none could follow
            ├── RootChainError            a root that does not follow the one that is trusted
            ├── MixedUpdateError          metadata of different times put together
            ├── WithheldUpdateError       what is signed for is not to be had
            ├── EndlessDataError          more bytes than are signed for, or than anybody may send
            ├── TruncatedUpdateError      fewer bytes than are signed for
            ├── WrongContentError         other bytes than are signed for
            ├── WrongRangeError           a server that gives other ranges than were asked for
            ├── SlowUpdateError           bytes so few and late that it would never end
            ├── WrongNodeError            meant for another node
            ├── UnknownTargetError        the director's wish names what its own list lacks
            ├── UnlistedTargetError       the director lists what the image repository does not
            ├── DisputedTargetError       both list it, with different bytes
            └── TrustStateError           what this node remembers is damaged or gone

A message says which thing, both values, and where; `hint` says what to do. Names stand in backticks.
"""

from collections.abc import Sequence

__all__ = [
    "AgentError",
    "ArtifactError",
    "ConflictError",
    "DeadlineError",
    "DeploymentFellError",
    "DisputedTargetError",
    "EndlessDataError",
    "ExpiredUpdateError",
    "FastForwardError",
    "ForbiddenError",
    "FullDiskError",
    "InputError",
    "LittoralError",
    "MalformedUpdateError",
    "MemoryCapError",
    "MixedUpdateError",
    "ModelError",
    "NodeError",
    "NotFoundError",
    "NotOfferedError",
    "OnnxFormatError",
    "PeerError",
    "QuotaError",
    "ReplayedUpdateError",
    "RequestError",
    "RolledBackUpdateError",
    "RootChainError",
    "SandboxError",
    "SettingError",
    "SetupError",
    "ShapeError",
    "ShardError",
    "SlowRequestError",
    "SlowUpdateError",
    "SpentError",
    "TooLargeError",
    "TooOftenError",
    "TrapError",
    "TruncatedUpdateError",
    "TrustError",
    "TrustStateError",
    "UnauthorizedError",
    "UnavailableError",
    "UnknownTargetError",
    "UnlistedTargetError",
    "UnsignedUpdateError",
    "UnsupportedOperatorError",
    "UpdateClockError",
    "UpdateRefusedError",
    "UpstreamError",
    "WithheldUpdateError",
    "WrongContentError",
    "WrongNodeError",
    "WrongRangeError",
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


class SpentError(TooOftenError):
    """What may be used in a window of time is used up."""


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


class FullDiskError(ShardError):
    """The disk has no room for what is to be written; nothing of it was, and reads go on."""


class UnavailableError(NodeError):
    """Not ready, full, stopping or restarting: try again, after `retry_after_s` seconds at the earliest."""

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class SetupError(NodeError):
    """Something that must be installed is missing."""


class PeerError(LittoralError):
    """Another node or the network is at fault."""


class UpstreamError(PeerError):
    """A service of language models did not answer, or not as it should.

    kind: what happened. status: the service's own, where it answered. retry_after_s: when it wants to be asked again.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        status: int = 0,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s


class TrustError(LittoralError):
    """A digest or signature does not match."""


class UpdateRefusedError(TrustError):
    """An update is not taken, one class per reason; what runs goes on."""


class MalformedUpdateError(UpdateRefusedError):
    """Metadata that cannot be read, or of another kind."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or "not what a publisher of this fleet writes: look at who answered")


class UnsignedUpdateError(UpdateRefusedError):
    """Signed by too few of the keys that may."""


class ExpiredUpdateError(UpdateRefusedError):
    """Metadata whose time is over: nothing new is installed. expires_s: Unix time of that."""

    def __init__(self, message: str, *, expires_s: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.expires_s = expires_s


class UpdateClockError(UpdateRefusedError):
    """Metadata whose time is over by one clock and not by another: one of the two is wrong."""


class ReplayedUpdateError(UpdateRefusedError):
    """A timestamp that is earlier than the one this node has seen."""


class RolledBackUpdateError(UpdateRefusedError):
    """An earlier version of a snapshot, or of what it lists, than this node has seen."""


class DeploymentFellError(UpdateRefusedError):
    """A deployment with a lower number than this node has been told."""


class FastForwardError(UpdateRefusedError):
    """A version so far ahead that no honest one could follow it."""


class RootChainError(UpdateRefusedError):
    """A root that does not follow the one that is trusted, or too many of them."""


class MixedUpdateError(UpdateRefusedError):
    """Metadata of different times put together: not what the snapshot or timestamp lists."""


class WithheldUpdateError(UpdateRefusedError):
    """What is signed for is not to be had."""


class EndlessDataError(UpdateRefusedError):
    """More bytes than are signed for, or than such a file may have."""


class TruncatedUpdateError(UpdateRefusedError):
    """Fewer bytes than are signed for."""


class WrongContentError(UpdateRefusedError):
    """As many bytes as are signed for, but other ones."""


class WrongRangeError(UpdateRefusedError):
    """A server answered with another range than it was asked for."""


class SlowUpdateError(UpdateRefusedError):
    """Bytes so few and late that it would never end."""


class WrongNodeError(UpdateRefusedError):
    """Signed for another node."""


class UnknownTargetError(UpdateRefusedError):
    """What the director wishes names a target that its own list lacks."""


class UnlistedTargetError(UpdateRefusedError):
    """The director lists a target that the image repository does not."""


class DisputedTargetError(UpdateRefusedError):
    """Director and image repository list a target with different bytes."""


class TrustStateError(UpdateRefusedError):
    """What this node remembers of versions is damaged or gone: without it, old updates could be replayed."""
