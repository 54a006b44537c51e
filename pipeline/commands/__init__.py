"""The commands: a config in, lines of text out; a file each."""
