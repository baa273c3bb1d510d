"""config/regions.py: the list of countries is libphonenumber's."""

import subprocess
import sys

from phonenumbers import SUPPORTED_REGIONS  # pyright: ignore[reportUnknownVariableType]

from smsd.config.regions import REGIONS


def test_the_countries_are_those_of_the_library() -> None:
    """What a config may name is exactly what libphonenumber has a numbering plan of."""
    assert sorted(REGIONS) == sorted(SUPPORTED_REGIONS)


def test_a_config_is_read_without_the_library() -> None:
    """Reading a config imports neither libphonenumber nor anything that talks to a network or a store."""
    heavy = ("phonenumbers", "aiohttp", "redis", "structlog", "prometheus_client", "asyncio", "difflib", "zoneinfo")
    code = f"import sys, smsd.config; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
