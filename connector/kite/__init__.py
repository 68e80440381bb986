"""The Kite side: frames, connections, the manager; knows no Kafka."""
