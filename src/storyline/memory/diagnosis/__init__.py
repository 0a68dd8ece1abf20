"""What is wrong with a model's memory: the evidence, and a test for each fault."""
