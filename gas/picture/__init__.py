"""Photographs in and out, working pictures, blending."""
