"""The diorama: a small world with a renderer, captions, exact edits and trained networks of the real classes."""
