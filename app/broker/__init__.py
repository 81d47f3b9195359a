"""Brokers: the embedded one, a real Kafka on this machine, yours; and the topics on them."""
