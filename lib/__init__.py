"""Code behind the book: how adversarially trained networks transfer."""
