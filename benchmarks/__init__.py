"""What README and docs claim, as commands. A result is a row of a results/*.csv beside the command."""
