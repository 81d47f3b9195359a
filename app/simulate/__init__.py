"""A realistic shop, simulated: the same seed gives the same bytes. The shop is pure; `run` and the
writers touch the world."""
