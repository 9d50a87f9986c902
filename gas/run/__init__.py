"""From a request to a written file with its record."""
