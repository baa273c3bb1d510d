"""docs/API.md as a reader follows it: every block of shell is run by bash and curl, and the answers shown are true."""

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from smsd.shell.api_problems import REASONS
from tests.support.site import ALL, site

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "API.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:```json\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def timeless(value: Any) -> Any:
    """The same without instants."""
    if isinstance(value, dict):
        return {name: 0 if name.endswith("_ms") else timeless(one) for name, one in value.items()}
    return [timeless(one) for one in value] if isinstance(value, list) else value


@pytest.mark.skipif(not shutil.which("curl"), reason="NO CURL HERE: the examples of docs/API.md are not tried")
async def test_the_guide_does_what_it_says(store_url: str, tmp_path: Path) -> None:
    """Each example succeeds in its turn, and answers what the guide shows, but for times."""
    blocks = BLOCK.findall(GUIDE.read_text("utf-8"))
    assert len(blocks) > 8
    shown = 0
    async with site(store_url, tmp_path) as api:
        env = {**os.environ, "SMSD": api.url, "SMSD_API_KEY": ALL}
        before = ""
        for script, expected in blocks:
            if script.startswith("call()"):
                before = script
                continue
            ran = await asyncio.create_subprocess_exec(
                "bash", "-euc", before + script, env=env, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await ran.communicate()
            assert ran.returncode == 0, script
            if expected:
                shown += 1
                assert timeless(msgspec.json.decode(out)) == timeless(msgspec.json.decode(expected)), script
            else:
                assert b'"status":' not in out, script
    assert shown > 5


def test_the_guide_tells_every_reason() -> None:
    """Word for word as the API's own table has it."""
    text = GUIDE.read_text("utf-8")
    for reason, told in REASONS.items():
        assert f"| `{reason}` | {told} |" in text
