"""The operator's own gate: an address on this machine that is asked before the flip and at the end of the watch."""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from littoral.tables.addresses import is_own_address

__all__ = ["ask_hook"]

TIMEOUT_S = 5.0
ANSWER_CHARACTERS_MAX = 200


def ask_hook(url: str, told: Mapping[str, Any]) -> str:
    """Why not, or ''. Any answer of 2xx is a yes; no answer is a no. Blocks."""
    if not is_own_address(url):
        return f"`{url[:200]}` is no address on this machine"
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=TIMEOUT_S)
    try:
        path = parts.path or "/"
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"{path}?{parts.query}" if parts.query else path, json.dumps(told), headers)
        answer = connection.getresponse()
        text = answer.read(ANSWER_CHARACTERS_MAX).decode(errors="replace")
        return "" if 200 <= answer.status < 300 else f"{answer.status} {text}".strip()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"`{url[:200]}`: {error}"
    finally:
        connection.close()
