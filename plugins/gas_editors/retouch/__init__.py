"""The editor without a model: colour, tone, removal and blur at the photograph's own size."""
