"""What the product tells of itself: every log event, every metric."""
