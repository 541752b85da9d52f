"""Alembic migrations of the node's own tables."""
