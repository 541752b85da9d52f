"""The database: its engine, tables and states, and the few rules that concern only its rows."""
