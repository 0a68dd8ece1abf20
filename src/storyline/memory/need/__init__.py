"""How far back the data needs to be remembered, asked of simple probes."""
