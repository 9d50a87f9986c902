"""JPEG files of many kinds, and what an edit leaves of each: `python -m gas.testing.jpeg`."""
