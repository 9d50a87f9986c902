"""Regions: checked, matched to a plan, kept."""
