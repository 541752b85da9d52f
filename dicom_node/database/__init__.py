"""The database: its engine, tables and states, and the few rules that stand in rows alone."""
