"""How far back a model remembers: four measures over the lag, each with its interval, and what joins them."""
