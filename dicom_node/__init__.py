"""The service: receives, processes and delivers studies, with its database, web pages and commands."""
