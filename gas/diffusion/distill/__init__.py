"""Score distillation."""
