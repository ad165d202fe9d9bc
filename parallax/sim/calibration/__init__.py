"""From measurements of an engine to a profile that the simulator can use, and its file."""
