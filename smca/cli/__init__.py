"""The `smca` command: one thin file a command; torch and everything heavy is imported when a command runs."""
