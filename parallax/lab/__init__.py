"""Measures what the laboratory is worth: simulations held against the live system."""
