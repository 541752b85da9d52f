"""Administration panel and viewer."""
