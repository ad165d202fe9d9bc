"""The image, and how its steps are rehearsed where there is no Docker."""
