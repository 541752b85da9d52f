"""The pages: administration panel and viewer."""
