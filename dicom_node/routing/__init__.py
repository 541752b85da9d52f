"""Routing rules: which studies go to which model and destinations, with what priority, or are kept out."""
