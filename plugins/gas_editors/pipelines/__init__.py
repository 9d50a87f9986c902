"""Editors over whole pipelines of diffusers: each subtask on a crop around its region, pasted back in its mask."""
