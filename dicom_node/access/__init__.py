"""Who may use the node: users with passwords and roles, their sessions, one-time links, and tokens of programs."""
