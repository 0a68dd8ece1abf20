"""How fast the recurrence runs, beside everything that a user would pick instead."""
