"""The providers that come with smsd, one file each: a vendor's language and nothing else.

A provider is pure (smsd.provider): no IO after it is made, no clock, no log, no retry. `_wire` holds what the HTTP ones
share. Nothing in smsd imports from here; the entry points of the group `smsd.providers` name the classes.
"""
