"""The commands with their flags, a file for each group; `gas_cli.app.COMMANDS` says what each is for."""
