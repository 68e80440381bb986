"""A Kafka broker and a schema registry inside this process, for the demo and for tests."""
