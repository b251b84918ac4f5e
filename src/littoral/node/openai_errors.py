"""Errors in the shape of OpenAI's API, with the words that its clients tell apart."""

from typing import Final

__all__ = ["openai_error", "openai_refusal"]

OF_STATUS: Final = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "insufficient_permissions"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


def openai_error(
    message: str, status: int, *, kind: str | None = None, param: str | None = None, code: str | None = None
) -> object:
    """`{"error": {"message", "type", "param", "code"}}`. kind, code: by the status where none is given."""
    own, word = OF_STATUS.get(status, ("invalid_request_error" if status < 500 else "server_error", None))
    return {"error": {"message": message, "type": kind or own, "param": param, "code": code or word}}


def openai_refusal(message: str, status: int, _time_s: float) -> object:
    """Of what is refused before a route has seen it."""
    return openai_error(message, status)
