"""How commands speak."""

import asyncio

import pytest

from smsd.cli.say import Code, Trouble, answer, complain, run


def test_an_answer_is_text_or_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same answer comes in the form that was asked for."""
    answer({"n": 1}, "one", json=False)
    answer({"n": 1}, "one", json=True)
    assert capsys.readouterr().out == 'one\n{"n":1}\n'


def test_an_answer_gives_a_terminal_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    """What others wrote can neither colour, title nor clear the terminal; lines, tabs and letters stay as they are."""
    answer({}, "a\tb\n\x1b]0;mine\x07 Zoë €\x9b2J", json=False)
    complain("\x1b[2J\nsmsd: all is well")
    assert capsys.readouterr() == (
        "a\tb\n\\x1b]0;mine\\x07 Zoë €\\x9b2J\n",
        "smsd: \\x1b[2J\\x0asmsd: all is well\n",
    )


def test_complaints_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """What goes wrong never mixes with an answer."""
    complain("no such thing")
    assert capsys.readouterr() == ("", "smsd: no such thing\n")


def test_trouble_knows_its_exit_code() -> None:
    """Whatever stops a command says what it is worth to a script."""
    assert Trouble("x").code == 1
    assert Trouble("x", Code.STORE).code == 3


def test_a_coroutine_is_run_to_its_end() -> None:
    """A command may be asynchronous inside."""

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert run(work()) == 7
