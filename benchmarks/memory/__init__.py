"""Whether the instruments of memory tell the truth, and what models remember, as commands."""
