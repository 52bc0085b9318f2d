"""For images of one's own: which source to start from, and going on with it."""
