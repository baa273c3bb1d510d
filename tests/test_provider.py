"""The provider contract's values: which receipts are final, and which reasons may be told."""

from smsd.provider import REFUSALS, ReceiptStatus


def test_only_delivered_and_undelivered_receipts_are_final() -> None:
    """All others change no state."""
    assert {status for status in ReceiptStatus if status.final} == {ReceiptStatus.DELIVERED, ReceiptStatus.UNDELIVERED}


def test_refusals_are_reasons_of_the_contract() -> None:
    """The reasons that a provider may give are those of the contract's table of ends."""
    told = "refused bad_number opted_out blocked filtered sender content funds config unlisted"
    assert set(told.split()) == REFUSALS
