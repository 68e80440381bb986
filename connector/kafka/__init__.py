"""The Kafka side: clients, topics, schema registry, producer, spool."""
