"""The public kit for those who test against smsd or write a provider: the built-in carrier and the conformance suite.

Nothing in here is ever imported by the daemon: a process that sends to real people holds no code that plays carrier.
"""
