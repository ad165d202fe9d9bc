"""The owners of machines, which start workers and let them go."""
