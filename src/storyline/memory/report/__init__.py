"""All that is known of a model's memory as a table, a page and pictures."""
