"""What a request to an Azure Communication Services resource has: an HMAC with its access key, and an id that makes it
one with its repeats.

Never reads a clock: the time that is signed is told. Source:
https://learn.microsoft.com/azure/communication-services/tutorials/hmac-header-tutorial (2026-11-28).
"""

import base64
import hashlib
import hmac
from urllib.parse import urlsplit


def signed(key: bytes, url: str, at: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """The headers that prove a POST: x-ms-date, the body's hash, and the signature over both, path and host."""
    parts = urlsplit(url)
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    text = f"POST\n{parts.path}?{parts.query}\n{at};{parts.netloc};{digest}"
    signature = base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
    proof = f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}"
    return ("x-ms-date", at), ("x-ms-content-sha256", digest), ("Authorization", proof)


def id_of(key: str) -> str:
    """A UUID that stands for the key: Azure wants one."""
    digits = hashlib.sha256(key.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"
