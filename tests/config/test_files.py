"""What smsd.config.files must hold: one table of all files, and the right line for everything in it."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from smsd.config.files import Document, File, KeyPath, dotted

ROOT = Path(__file__).resolve().parents[2]

TRICKY = r'''# a comment with [brackets] and "quotes"
top = 1
"quoted key" = 'x'   # comment
a.b.c = 2
a.b."d.e" = "]"
text = """
[not.a.table] = 1
ends with quotes"""""
raw = \'\'\'
'' # no comment
\'\'\'
day = 1979-05-27 07:32:00
list = [ # comment ]
  "a, b", # ,
  [1,
   2],
  { x = 1, y.z = "}" },
  \'#\', 1979-05-27 07:32:00, """
]""",
]
empty = []
none = {}

[ plans . "g.old" ]
limits = ["1/s"]
	[plans.gold.inner] # tab
	k = "\\"
[[rules]]
a = 1
[[rules]]
  a = 2
  [rules.sub]
  b = {c = {d = [[{e = 1}]]}}
  [[rules.many]]
  f = 1
  [[rules.many]]
  f = "\u00e9\""
["é"]
z = true
'''.replace("\\'", "'")

EXPECTED: dict[KeyPath, int] = {
    ("top",): 2,
    ("quoted key",): 3,
    ("a", "b", "c"): 4,
    ("a", "b", "d.e"): 5,
    ("text",): 6,
    ("raw",): 9,
    ("day",): 12,
    ("list",): 13,
    ("list", 0): 14,
    ("list", 1): 15,
    ("list", 1, 1): 16,
    ("list", 2, "y", "z"): 17,
    ("list", 3): 18,
    ("list", 4): 18,
    ("list", 5): 18,
    ("plans", "g.old"): 24,
    ("plans", "g.old", "limits", 0): 25,
    ("plans", "gold", "inner", "k"): 27,
    ("rules", 0): 28,
    ("rules", 0, "a"): 29,
    ("rules", 1): 30,
    ("rules", 1, "a"): 31,
    ("rules", 1, "sub"): 32,
    ("rules", 1, "sub", "b", "c", "d", 0, 0, "e"): 33,
    ("rules", 1, "many", 0, "f"): 35,
    ("rules", 1, "many", 1, "f"): 37,
    ("é", "z"): 39,
}


def paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    """Every key, table and element in a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} - {()} | {found for key, inner in inside for found in paths(inner, (*path, key))}


def file(folder: Path, text: str, name: str = "smsd.toml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_every_construct_of_toml_is_found_on_its_line(tmp_path: Path):
    """Dotted and quoted keys, texts over lines, nested lists, inline tables, arrays of tables: each has its line."""
    lines = File(file(tmp_path, TRICKY)).lines
    assert {path: lines[path] for path in EXPECTED} == EXPECTED


SHIPPED = [ROOT / "smsd.toml", ROOT / "pyproject.toml", *(ROOT / "config").rglob("*.toml")]


@pytest.mark.parametrize(
    "text",
    [TRICKY, TRICKY.replace("\n", "\r\n"), "", *(path.read_text("utf-8") for path in SHIPPED)],
)
def test_the_scanner_finds_exactly_what_tomllib_reads(tmp_path: Path, text: str):
    """The paths that have a line are those that have a value: none is missed and none is invented."""
    read = tmp_path / "some.toml"
    read.write_bytes(text.encode())
    assert set(File(read).lines) == paths(tomllib.loads(text))


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path):
    """Editors that write one, unseen, break nothing."""
    read = tmp_path / "some.toml"
    read.write_bytes(b"\xef\xbb\xbf[store]\r\nshards = 2\r\n")
    assert (File(read).mistake, File(read).table) == (None, {"store": {"shards": 2}})


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a = 1\nb =\n", 2, "not TOML: Invalid value"),
        ("a = 1\n\nb = [1,\n", 3, "not TOML"),
        ("[a]\nx = 1\n[a]\n", 3, "not TOML: Cannot declare"),
        ("a = " + "[" * 10_000, 0, "nested too deeply"),
        (".".join("a" * 3000) + " = 1", 0, "nested too deeply"),
        ("a = " + "9" * 5000, 0, "holds a number of thousands of digits"),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(tmp_path: Path, text: str, line: int, says: str):
    """A mistake of syntax names the line, and nothing else is read from the file."""
    mistake = File(file(tmp_path, text)).mistake
    assert mistake is not None
    assert (mistake.file, mistake.line) == (str(tmp_path / "smsd.toml"), line)
    assert mistake.message.startswith(says)


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path):
    """A missing file, a folder, links that lead to none and bytes that are no text are told as such."""
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = '\xe9'\n")
    assert str(File(tmp_path / "no.toml").mistake) == (
        f"{tmp_path}/no.toml: there is no such file: --config FILE, or $SMSD_CONFIG, says which is meant"
    )
    assert "Is a directory" in str(File(tmp_path).mistake)
    assert str(File(tmp_path / "latin.toml").mistake) == f"{tmp_path}/latin.toml:2: not UTF-8 text"
    for link, target in (("loop.toml", "loop.toml"), ("lost.toml", "gone.toml")):
        (tmp_path / link).symlink_to(target)
    included = Document(file(tmp_path, 'include = ["lo*.toml"]\n'), {})
    assert [str(mistake).removeprefix(f"{tmp_path}/") for mistake in included.mistakes] == [
        "loop.toml: cannot be read: Too many levels of symbolic links",
        "lost.toml: is a link that leads to no file",
    ]
    assert "Too many levels" in str(Document(tmp_path / "loop.toml", {}).mistakes[0])


def test_included_files_are_added_in_order_and_each_keeps_its_lines(tmp_path: Path):
    """Globs are read sorted, a file once, tables are joined, and a key is found in the file that has it."""
    file(tmp_path, "[tenants.b]\nx = 1\n", "d/b.toml")
    file(tmp_path, "\n[tenants.a]\nx = 1\n", "d/a.toml")
    root = file(tmp_path, 'include = ["d/*.toml", "d/a.toml", "*.toml", "none/*.toml"]\n[tenants.a]\ny = 1\n')
    document = Document(root, {})
    assert document.mistakes == []
    assert document.table == {"tenants": {"a": {"y": 1, "x": 1}, "b": {"x": 1}}}
    assert list(document.table["tenants"]) == ["a", "b"]
    assert document.where(("tenants", "a", "x")) == (f"{tmp_path}/d/a.toml", 3, "tenants.a.x")
    assert document.where(("tenants", "a", "y")) == (str(root), 3, "tenants.a.y")
    assert document.where(("tenants", "b", "missing")) == (f"{tmp_path}/d/b.toml", 1, "tenants.b.missing")
    assert document.where(("nowhere",)) == (str(root), 0, "nowhere")


def test_the_same_key_in_two_files_is_a_mistake_that_names_both(tmp_path: Path):
    """Neither file wins in silence, also where one has a value and the other a table."""
    file(tmp_path, '[tenants.a]\nsender = "A"\nlimits.x = 1\n', "d/a.toml")
    root = file(tmp_path, 'include = ["d/a.toml"]\n[tenants.a]\nsender = "A"\nlimits = []\n')
    document = Document(root, {})
    assert [str(mistake) for mistake in document.mistakes] == [
        f"{tmp_path}/d/a.toml:2: tenants.a.sender: is given in {root}:3 too: keep one of them",
        f"{tmp_path}/d/a.toml:3: tenants.a.limits: is given in {root}:4 too: keep one of them",
    ]


def test_mistakes_of_including_are_told(tmp_path: Path):
    """A file that is missing, a folder, an include inside an included file, a wrong type, and a broken file."""
    file(tmp_path, 'include = ["x"]\n', "d/a.toml")
    file(tmp_path, "a = \n", "d/b.toml")
    document = Document(file(tmp_path, 'include = [\n"d/*.toml",\n"gone.toml",\n"d/", "*"]\n'), {})
    assert sorted(str(mistake).removeprefix(f"{tmp_path}/") for mistake in document.mistakes) == [
        "d/a.toml:1: include: only the first file may include others",
        "d/b.toml:1: not TOML: Invalid value",
        'smsd.toml:3: include[1]: there is no file "gone.toml" beside this one',
        'smsd.toml:4: include[2]: "d/" is a folder: "d/*.toml" are the files in it',
    ]
    assert not document.whole
    assert "expected a list of paths" in Document(file(tmp_path, "include = 1\n"), {}).mistakes[0].message


def test_paths_in_an_included_file_count_from_its_own_folder(tmp_path: Path):
    """References to files, in a url too, and the data folder are made relative to the first file's folder."""
    file(
        tmp_path,
        '[store]\nurl = "redis://:{file:pw}@h"\ndata_dir = "var"\n'
        '[providers.a]\ntoken = ["file:t", "file:/abs", "env:X"]\nother = [{ x = "file" }]\n',
        "d/a.toml",
    )
    table = Document(file(tmp_path, 'include = ["d/a.toml"]\n'), {}).table
    assert table["store"] == {"url": "redis://:{file:d/pw}@h", "data_dir": "d/var"}
    assert table["providers"]["a"] == {"token": ["file:d/t", "file:/abs", "env:X"], "other": [{"x": "file"}]}


def test_the_environment_overrides_single_keys_of_a_host_s_own_sections(tmp_path: Path):
    """SMSD_STORE__SHARDS and the like replace the file's value and are named where a mistake is told."""
    root = file(tmp_path, "[store]\nshards = 1\n")
    document = Document(root, {"SMSD_STORE__SHARDS": "4", "SMSD_HTTP__LISTEN": "h:1", "SMSD_CONFIG": "x", "HOME": "y"})
    assert document.table == {"store": {"shards": "4"}, "http": {"listen": "h:1"}}
    assert str(document.mistake(("store", "shards"), "no")) == "environment: SMSD_STORE__SHARDS: no"


def test_an_override_of_anything_else_is_a_mistake_that_names_the_variable(tmp_path: Path):
    """What is one for all hosts cannot differ by environment; a variable that a secret refers to is not meant."""
    env = {"SMSD_DISPATCH__DRAIN_S": "1", "SMSD_MY__TOKEN": "x", "SMSD_CONFIG": "x", "OTHER__X": "1"}
    document = Document(file(tmp_path, ""), env)
    mistakes = list(document.misplaced(env, {"SMSD_MY__TOKEN"}))
    assert [(mistake.file, mistake.key) for mistake in mistakes] == [("environment", "SMSD_DISPATCH__DRAIN_S")]
    assert "only single keys of [store], [http], [webhooks] and [otel]" in mistakes[0].message


def test_a_section_that_is_no_table_is_left_for_the_reader_to_judge(tmp_path: Path):
    """An override does not hide that the file has nonsense in the section's place."""
    assert Document(file(tmp_path, "store = 1\n"), {"SMSD_STORE__SHARDS": "4"}).table == {"store": 1}


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (("classes", "reminder", "weight"), "classes.reminder.weight"),
        (("senders", "+353", "limits", 0), 'senders."+353".limits[0]'),
        (("route_rules", 1, "route"), "route_rules[1].route"),
    ],
)
def test_a_key_is_shown_as_toml_writes_it(path: KeyPath, written: str):
    """Names that are no bare keys are quoted, elements have their place."""
    assert dotted(path) == written
