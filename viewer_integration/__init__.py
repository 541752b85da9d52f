"""Findings in, objects for the PACS out, viewers on top."""
