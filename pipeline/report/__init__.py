"""What a corpus tells of itself: a table on the screen, a dataset card, Croissant, a page with pictures."""
