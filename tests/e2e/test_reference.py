"""The reference page in a real browser: drawn whole, from this process alone, under its own strict policy."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from smsd.shell.api_routes import ROUTES
from tests.support.site import site

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)


@pytest.mark.skipif(not BROWSER, reason="NO CHROMIUM HERE: the reference page was not looked at in a browser")
@pytest.mark.timeout(120)
async def test_the_page_shows_every_path(store_url: str, tmp_path: Path) -> None:
    """Each path and its summary is drawn, the browser refuses nothing of it, and nothing is asked of another host."""
    async with site(store_url, tmp_path) as api:
        ran = await asyncio.create_subprocess_exec(
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--enable-logging=stderr",
            "--dump-dom", f"{api.url}/docs",
            env={**os.environ, "HOME": str(tmp_path)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        drawn, said = await ran.communicate()
    text = drawn.decode().replace("&amp;", "&").replace("\u200b", "").replace("<wbr>", "")
    for route in ROUTES:
        assert f'data-path="{route.path}"' in text
        assert route.summary in text
    assert b"Content Security Policy" not in said
    assert b"Refused to" not in said
