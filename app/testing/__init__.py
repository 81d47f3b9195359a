"""Testing definitions on a simulated clock."""
