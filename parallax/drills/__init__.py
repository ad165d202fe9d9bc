"""Drills (`parallax verify`): real processes, faults from a seed, promises checked afterwards."""
