"""The embedded server: finding it, starting it, its home, and putting in order what it leaves."""
