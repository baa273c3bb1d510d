"""`smsd demo`: 20,000 messages from the streams to the built-in carrier and back, and an account of each.

Never touches a store, a port or a file that is not its own. messages: what is enqueued. stage: the processes. watch:
what the streams tell while it runs. ledger: what became of each message, by independent books. view: how it looks.
"""
