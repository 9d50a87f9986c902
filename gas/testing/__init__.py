"""For tests: contracts to subclass, fakes, and models small enough for a unit test."""
