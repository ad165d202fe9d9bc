"""One format of traces, one file: each registers its reader."""
