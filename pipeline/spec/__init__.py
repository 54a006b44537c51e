"""What a corpus is asked to be: pure, no file is opened here."""
