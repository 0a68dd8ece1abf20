"""Inside a recurrent layer: states and gates, time scales, exponents, events; facts, and erasing them."""
