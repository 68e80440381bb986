"""The histogram of acknowledgements, of librdkafka's own statistics, over the embedded broker."""

from connector.embedded.broker import EmbeddedBroker
from connector.kafka.producer import RecordProducer
from connector.settings.models import KafkaSettings, SpoolSettings
from connector.testing import until


async def test_it_shows_how_long_the_broker_takes(tmp_path):
    with EmbeddedBroker({"t": 3}) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        producer = RecordProducer(kafka, SpoolSettings(directory=tmp_path), client_id="test")
        await producer.start()
        try:
            await until(lambda: producer.broker_reachable)
            histogram = producer.health.acknowledgement.histogram
            broker.set_rtt_ms(300)
            for number in range(60):
                producer.produce("t", b"value", b"%d" % number)
            await until(lambda: histogram.count == 60)
            counts = dict(histogram.cumulative())
            assert (counts["0.25"], counts["30.0"]) == (0, 60)
            assert histogram.total / 60 > 0.3
            assert histogram.count == producer.counts.delivered
        finally:
            await producer.close(5)
