"""`gas bench verify`: how often verifiers are right about edits whose exact result is known."""
