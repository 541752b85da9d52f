"""Commands that read files and write files, without a running node."""
