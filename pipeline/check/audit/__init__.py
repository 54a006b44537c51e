"""`ostraca audit`: every random quantity against its exact law, every shortcut that should not be there."""
