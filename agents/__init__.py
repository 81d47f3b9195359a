"""Thin Faust shells: each file has one verb and a `register(app, deps)`; what happens is
elsewhere."""
