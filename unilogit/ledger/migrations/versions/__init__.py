"""The versions of the ledger's tables, the first one first."""
