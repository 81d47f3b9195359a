"""Why: the parts of a rule that decided, and the facts that they give."""
