"""The commands that ask a running smsd, or its store: send, status, health."""

from pathlib import Path

from smsd.cli.say import Code, Trouble, answer, run, say

HEALTH_S = 3.0


def send(
    *,
    tenant: str,
    to: str,
    body: str,
    class_: str,
    id: str,
    sender: str,
    campaign: str,
    not_before: str,
    not_after: str,
    timeout: float,
    config: Path,
    json: bool,
) -> Code:
    """Send one message and wait for its end."""
    from smsd.cli.ask_send import Letter, post

    if timeout < 0:
        raise Trouble("--timeout is at least 0: seconds to wait, 0 for not at all", Code.MISTAKE)
    fields = {
        "tenant": tenant,
        "to": to,
        "body": body,
        "id": id,
        "from": sender,
        "campaign": campaign,
        "not_before": not_before,
        "not_after": not_after,
    }
    letter = Letter(class_, {name: value for name, value in fields.items() if value}, timeout)
    end = run(post(config, letter, tell=(lambda _: None) if json else say))
    why = [end[name] for name in ("reason", "detail") if end.get(name)]
    answer(end, ": ".join((end["state"], *why)), json=json)
    return Code.OK if end["state"] == "delivered" or timeout == 0 else Code.NOT


def status(*, config: Path, json: bool) -> Code:
    """Show what waits, what is in flight, who works, and which config is in force where."""
    return run(_status(config, json))


async def _status(config: Path, json: bool) -> Code:
    import time

    from smsd.cli.ask_status import shown
    from smsd.cli.reach import reach
    from smsd.control.standing import standing

    async with reach(config) as store:
        now = await standing(store.config, store.shards)
    now_ms = time.time_ns() // 1_000_000
    answer(now, shown(now, now_ms), json=json)
    working = any(not process.silent_ms(now_ms) for process in now.processes)
    return Code.OK if working and now.config_is_file and not now.drift else Code.NOT


def health(*, config: Path, json: bool) -> Code:
    """Ask the smsd of this host whether it is ready; 1 when it is not."""
    import http.client

    from smsd.cli.reach import configured
    from smsd.shell.listening import address

    where = address(configured(config).http.listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(where.host, where.host)  # noqa: S104 - never bound, only asked
    connection = http.client.HTTPConnection(host, where.port, timeout=HEALTH_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        said = response.read(4096).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise Trouble(
            f"nobody answers at {where} ([http] listen): {error or 'no answer'}; is smsd run running?"
        ) from None
    finally:
        connection.close()
    ready = response.status == 200
    answer({"ready": ready, "said": said, "listen": str(where)}, said, json=json)
    return Code.OK if ready else Code.NOT
