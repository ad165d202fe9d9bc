"""Who has the machines: starts workers, and lets them go."""
