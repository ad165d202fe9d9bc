"""What the streams hold: one file for each family of operations."""
