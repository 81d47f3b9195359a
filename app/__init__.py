"""hyperseg: a real-time hyper-segmentation engine over Kafka."""

__version__ = "0.1.0"
