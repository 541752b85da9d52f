"""The command `glionode`: one file for each group of its subcommands."""
