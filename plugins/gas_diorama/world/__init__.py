"""The small world: scenes, words, pictures, cases."""
