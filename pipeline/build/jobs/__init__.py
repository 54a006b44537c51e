"""Where jobs run, and what their process needs."""
