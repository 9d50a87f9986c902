"""What plugins register, and how it becomes backends with options."""
