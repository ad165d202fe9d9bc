"""The operations on Redis: one file for each family of them."""
