"""What is measured: a model as a function of sequences, the sequences, and what makes a measurement worthless."""
