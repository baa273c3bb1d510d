"""Limits by scope, and what a change of the config does to them."""

from smsd.core.twin.limits import Limits, admits_at
from smsd.core.twin.values import Settings
from tests.support.twin import SECOND, limits


def settings(*texts: str) -> Settings:
    """One tenant with these limits."""
    return Settings({}, tenants={"acme": limits(*texts), "*": limits("1/s")})


def test_all_limits_of_a_scope_must_allow() -> None:
    """The latest of them says when."""
    book = Limits(settings("10/s burst 5", "2/h"))
    for _ in range(2):
        assert admits_at(book.states("t:acme", SECOND), 1, SECOND) == SECOND
        book.charge("t:acme", 1, SECOND)
    assert admits_at(book.states("t:acme", SECOND), 1, SECOND) > 3600 * SECOND


def test_a_tenant_without_settings_has_the_defaults() -> None:
    """Only a tenant that is named has limits of its own, and these replace the defaults."""
    book = Limits(settings("10/s burst 5"))
    assert book.defined("t:other") == limits("1/s")
    assert book.defined("t:acme") == limits("10/s burst 5")
    assert book.defined("s:Salon") == ()


def test_a_give_back_is_refunded_where_it_takes_nothing_from_others() -> None:
    """A counted limit has room again; a paced one too, unless something was charged after what is given back."""
    book = Limits(settings("1/s", "2/h"))
    book.charge("t:acme", 1, SECOND)
    book.refund("t:acme", 1, SECOND, SECOND, SECOND + 10)
    assert admits_at(book.states("t:acme", SECOND + 10), 1, SECOND + 10) == SECOND + 10
    book.charge("t:acme", 1, SECOND + 10)
    book.charge("t:acme", 1, 3 * SECOND)
    book.refund("t:acme", 1, SECOND + 10, SECOND + 10, 3 * SECOND)
    assert admits_at(book.states("t:acme", 3 * SECOND), 1, 3 * SECOND) > 3 * SECOND


def test_a_new_period_starts_without_its_burst_while_the_old_one_is_busy() -> None:
    """A limit under another period gives no fresh burst, nor does the old one when it comes back."""
    book = Limits(settings("5/s burst 5"))
    book.charge("t:acme", 1, SECOND)
    book.settings = settings("5/2s burst 5")
    assert admits_at(book.states("t:acme", SECOND), 1, SECOND) > SECOND
    book.settings = settings("5/s burst 5")
    assert admits_at(book.states("t:acme", SECOND), 1, SECOND) > SECOND


def test_what_is_forgotten_bound_nothing() -> None:
    """A scope is dropped when no window reaches back to its last charge, and is judged the same without."""
    book = Limits(settings("5/s burst 1"))
    book.charge("t:acme", 1, SECOND)
    book.forget(2 * SECOND)
    assert admits_at(book.states("t:acme", SECOND), 1, SECOND) > SECOND
    book.settings = settings("5/s burst 3")
    much = 100 * SECOND
    before = admits_at(book.states("t:acme", much), 1, much)
    book.forget(much)
    assert admits_at(book.states("t:acme", much), 1, much) == before == much
