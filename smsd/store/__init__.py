"""The store: Redis or Valkey behind a few verbs. Decides nothing outside its scripts; knows no provider, no HTTP."""
