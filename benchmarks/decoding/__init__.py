"""How fast a translator writes: sentences a second, beside the same weights on torch's own layers."""
