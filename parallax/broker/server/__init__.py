"""The embedded server: finding it, starting it, its home, and cleaning up after it."""
