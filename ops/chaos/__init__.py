"""The chaos drill: real processes, faults drawn from a seed, promises checked afterwards."""
