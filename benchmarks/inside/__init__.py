"""What the instruments that look inside a recurrent layer find in trained networks, and what they cost."""
