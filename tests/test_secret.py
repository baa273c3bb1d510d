"""What smsd.secret must hold: secrets are references, found when asked for, and shown nowhere."""

import pickle
from pathlib import Path

import msgspec
import pytest

from smsd.secret import Secret, SecretError, SecretUrl, as_reference

ENV = {"TOKEN": "s3cret", "EMPTY": "", "PASSWORD": "p@ss/w:rd"}


def test_a_reference_to_the_environment_is_read_when_asked_for():
    """The variable is read at each reveal, so a change is seen and nothing is kept."""
    env = dict(ENV)
    secret = Secret("env:TOKEN", env=env)
    assert secret.reveal() == "s3cret"
    env["TOKEN"] = "rotated"
    assert secret.reveal() == "rotated"


def test_a_reference_to_a_file_is_relative_to_its_folder_and_loses_its_last_newline(tmp_path: Path):
    """A path counts from the folder given; an absolute one from the root; the newline of an editor is no secret."""
    (tmp_path / "token").write_text("s3cret\r\n")
    assert Secret("file:token", str(tmp_path)).reveal() == "s3cret"
    assert Secret(f"file:{tmp_path}/token", "elsewhere").reveal() == "s3cret"


@pytest.mark.parametrize("text", ["s3cret", "", "env:", "env:A-B", "file:", "ENV:A", "env:A ", "env:1A", "file:a{b}"])
def test_what_is_no_reference_is_refused_without_being_repeated(text: str):
    """A literal secret is a mistake whose text does not hold it."""
    with pytest.raises(SecretError, match="give env:NAME or file:PATH") as caught:
        Secret(text)
    assert "s3cret" not in str(caught.value)


def test_a_reference_that_leads_nowhere_says_what_is_missing(tmp_path: Path):
    """A variable that is not set or empty, and a file that cannot be used, are each named."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_text("x" * 70_000)
    for reference, says in [
        ("env:NOWHERE", "NOWHERE is not set"),
        ("env:EMPTY", "EMPTY is empty"),
        ("file:nowhere", "nowhere cannot be read: No such file"),
        ("file:empty", "empty is empty"),
        ("file:binary", "not UTF-8"),
        ("file:long", "longer than 64 KB"),
        ("file:.", "Is a directory"),
    ]:
        with pytest.raises(SecretError, match=says):
            Secret(reference, str(tmp_path), ENV).reveal()


def test_a_secret_shows_itself_nowhere_and_travels_as_its_reference():
    """repr, str, formats, pickles and msgspec's writers show `***` or the reference, never the secret."""
    secret, url = Secret("env:TOKEN", "folder", ENV), SecretUrl("redis://a:{env:PASSWORD}@h", "folder", ENV)
    assert [repr(secret), str(secret), f"{secret}"] == ["***"] * 3
    assert (str(url), repr(url)) == ("redis://a:***@h", "'redis://a:***@h'")
    assert repr(SecretUrl("env:TOKEN", "", ENV)) == "'***'"
    for value in (secret, url):
        pickled = pickle.dumps(value)
        assert b"s3cret" not in pickled
        assert b"p@ss" not in pickled
        assert pickle.loads(pickled) == value  # noqa: S301
    assert pickle.loads(pickle.dumps(Secret("file:x", "folder"))).folder == "folder"  # noqa: S301
    assert msgspec.json.encode([secret, url], enc_hook=as_reference) == b'["env:TOKEN","redis://a:{env:PASSWORD}@h"]'
    with pytest.raises(NotImplementedError, match="object"):
        msgspec.json.encode(object(), enc_hook=as_reference)


def test_secrets_are_equal_when_their_references_are():
    """Two references to the same place are one secret to compare and to hash."""
    assert {Secret("env:A"), Secret("env:A", "x")} == {Secret("env:A")}
    assert Secret("env:A") != Secret("env:B")
    assert {SecretUrl("redis://h"), SecretUrl("redis://h")} == {SecretUrl("redis://h")}
    assert SecretUrl("redis://h") != Secret("env:A")


def test_a_url_takes_its_secrets_from_braces_percent_encoded():
    """A password with any character in it cannot break the url; without references the url is as it stands."""
    url = SecretUrl("redis://smsd:{env:PASSWORD}@db:6379/0", "", ENV)
    assert url.reveal() == "redis://smsd:p%40ss%2Fw%3Ard@db:6379/0"
    assert SecretUrl("embedded").reveal() == "embedded"
    assert SecretUrl("redis://user@db").reveal() == "redis://user@db"


def test_a_url_may_be_one_reference_as_a_whole():
    """`env:REDIS_URL` is dialled as it is found."""
    url = SecretUrl("env:REDIS_URL", "", {"REDIS_URL": "redis://:a%40b@db"})
    assert url.reveal() == "redis://:a%40b@db"
    assert [secret.reference for secret in url.secrets.values()] == ["env:REDIS_URL"]


@pytest.mark.parametrize(
    "text",
    [
        "redis://:hunter2@db",
        "redis://smsd:hunter2@db:6379/0",
        "redis://smsd:hunter2{env:TOKEN}@db",
        "rediss://db/0?password=hunter2",
        "redis://:env:hunter2@db",
        "redis://:{hunter2}@db",
        "redis://:hunter2@[db",
    ],
)
def test_a_password_written_into_a_url_is_refused_without_being_repeated(text: str):
    """The mistake says where a reference goes, and does not hold the password."""
    with pytest.raises(SecretError, match=r"env:NAME|cannot be read") as caught:
        SecretUrl(text, "", ENV)
    assert "hunter2" not in str(caught.value)
