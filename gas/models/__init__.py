"""The files that a model needs: which, where, and how they get here."""
