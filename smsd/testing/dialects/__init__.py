"""One file per dialect that the built-in carrier speaks: a vendor's API and receipts, from its documents."""
