"""First-party backends; the registration hook names them."""
