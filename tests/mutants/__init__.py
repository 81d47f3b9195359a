"""Are the tests awake? Plants one mistake at a time in a copy of the product and lets golden cases
and scenarios look for it."""
