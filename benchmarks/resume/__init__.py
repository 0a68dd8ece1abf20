"""Runs killed with SIGKILL and resumed, against the same runs never killed, bit for bit."""
