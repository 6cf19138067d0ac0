"""Leave to see one thing of one stream, in its address: for players, which cannot show a key as a header.

A grant is made from the key, does not tell it, opens nothing else, and holds until the key is changed.
"""

import hashlib
import hmac
import re
from urllib.parse import parse_qs

from starlette.types import Scope

PARAMETER = "grant"
"""The name of the grant in an address."""
_GRANTED = re.compile(r"/v1/streams/([^/]+)/hls/[^/]+")


def grant(key: str, stream_id: str) -> str:
    """What opens the HLS of a stream; empty where there is no key."""
    return hmac.digest(key.encode(), f"watchword hls {stream_id}".encode(), hashlib.sha256).hex()[:32] if key else ""


def is_granted(key: str, scope: Scope) -> bool:
    """Whether a request shows a grant of what it asks for."""
    asked = _GRANTED.fullmatch(scope["path"])
    if asked is None or scope["method"] not in ("GET", "HEAD"):
        return False
    shown = parse_qs(scope["query_string"].decode("latin-1")).get(PARAMETER, [])
    return len(shown) == 1 and hmac.compare_digest(shown[0].encode(), grant(key, asked[1]).encode())
