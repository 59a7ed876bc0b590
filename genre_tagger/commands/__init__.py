"""The command line: one module per command, with its options, its steps and what it prints."""
