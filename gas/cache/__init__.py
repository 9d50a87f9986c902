"""What the toolkit has computed and would compute again, kept on disk under what it depends on."""
