"""What the doctor looks at outside the store: whether providers can call us, and what this host allows its processes.

Never sends a message and never forges a callback: the probe asks in a way that our webhooks refuse without a note.
"""

import asyncio
import contextlib
import http.client
import re
import resource
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from smsd.config import Config
from smsd.control.doctor_facts import Facts, Finding
from smsd.secret import SecretError

PROBE_S = 3.0
FILES_SPARE = 512  # beyond connections to providers: the store, callbacks, the API, logs
ATTEMPTS_MAX = 1000  # of one process, whatever max_in_flight allows (shell/sender.py)


async def public_url(facts: Facts) -> list[Finding]:
    """Receipts come to public_url: it has to lead to the webhooks of one of our processes."""
    url = facts.config.webhooks.public_url
    called = _called(facts.config)
    if not called:
        return []
    if not url:
        what = (
            f"no public_url is configured, so {called[0]} is not told where to send receipts: messages end unconfirmed"
        )
        return [Finding(what=what, mend='set public_url in [webhooks], as "https://sms.example.com"')]
    try:
        async with asyncio.timeout(2 * PROBE_S):
            why = await asyncio.to_thread(_probe, url, called[0])
    except TimeoutError:
        why = f"no answer within {2 * PROBE_S:g} s"
    if not why:
        return []
    what = f"public_url {url} does not lead to smsd: {why}"
    return [Finding(what=what, mend="see that DNS, proxy and [webhooks] listen lead there, path prefix and all")]


def _called(config: Config) -> list[str]:
    """Providers that call us about each message."""
    names: list[str] = []
    for name in config.providers:
        with contextlib.suppress(SecretError, KeyError, ValueError):
            can = config.provider(name).capabilities
            if can.receipts and can.callback_per_message:
                names.append(name)
    return names


def _probe(url: str, provider: str) -> str:
    """Why the webhooks are not there; "" where they are. They answer HEAD with 405 and say what they take instead, so
    that no callback is counted as forged.
    """
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=PROBE_S)
    try:
        connection.request("HEAD", f"{parts.path}/webhooks/{provider}/status")
        answer = connection.getresponse()
    except ssl.SSLError as error:
        return f"its certificate is not believed ({error.reason or error})"
    except socket.gaierror:
        return f"there is no host {parts.hostname}"
    except TimeoutError:
        return f"no answer within {PROBE_S:g} s"
    except (OSError, http.client.HTTPException) as error:
        return f"{error or type(error).__name__}"
    finally:
        connection.close()
    allowed = {word.strip() for word in (answer.getheader("Allow") or "").split(",")}
    if answer.status == 405 and allowed == {"GET", "POST"}:
        return ""
    if 300 <= answer.status < 400:
        return f"it redirects to {answer.getheader('Location')}, where no signature holds"
    return f"something else answers there, with {answer.status}"


async def files(facts: Facts) -> list[Finding]:
    """Each attempt in flight is a connection, and each of these an open file."""
    sent = min(ATTEMPTS_MAX, sum(one.max_in_flight for one in facts.config.providers.values()))
    needed = FILES_SPARE + sent
    host = socket.gethostname()
    limits = {one.pid: _open_files(one.pid) for one in facts.standing.processes if one.host == host}
    found = {pid: limit for pid, limit in limits.items() if limit is not None}
    if not found:  # none of this host; what is started from here will have ours
        found = {0: resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
    low = {pid: limit for pid, limit in found.items() if 0 <= limit < needed}
    if not low:
        return []
    pid, limit = min(low.items(), key=lambda item: item[1])
    who = f"process {pid}" if pid else "what is started from here"
    what = f"{who} may open {limit} files, and {needed} may be needed for max_in_flight and callbacks"
    return [Finding(what=what, mend="raise it: LimitNOFILE= in a systemd unit, ulimit -n in a shell")]


def _open_files(pid: int) -> int | None:
    """A process's own limit, by Linux's proc; None where it cannot be read, -1 for none."""
    try:
        text = Path(f"/proc/{pid}/limits").read_text("utf-8")
    except OSError:
        return None
    found = re.search(r"^Max open files\s+(\S+)", text, re.MULTILINE)
    if found is None:
        return None
    return int(found[1]) if found[1].isdigit() else -1
