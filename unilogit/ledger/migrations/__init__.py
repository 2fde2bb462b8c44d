"""Alembic's scripts for the ledger's tables: one module a version, the name of its revision is its number.

A script is never changed once a ledger was made by it: it holds the tables as they were, not as tables.py has them.
"""
