"""What the recurrence costs, in time and memory, as commands."""
