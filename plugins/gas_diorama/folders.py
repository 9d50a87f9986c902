"""Where the diorama's data lie: pictures, weights, and the words that its vocabularies are learned from."""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).parent
SCENES = HOME / "scenes"
ENGLISH = HOME / "english.txt"
WEIGHTS = HOME / "weights"
