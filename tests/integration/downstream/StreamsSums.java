import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Pattern;
import kite.consumer.RegistryDecoder;
import kite.consumer.Sums;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.Record;

/** Adds up so many ticks by Kafka Streams, for the table of rates. */
public final class StreamsSums {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, args[3]);
        properties.put("auto.offset.reset", "earliest");
        AtomicLong left = new AtomicLong(Long.parseLong(args[4]));
        CountDownLatch done = new CountDownLatch(1);
        Sums sums = new Sums();
        Topology topology = new Topology();
        topology.addSource(
                "ticks",
                Serdes.ByteArray().deserializer(),
                Serdes.ByteArray().deserializer(),
                Pattern.compile(args[2]));
        topology.addProcessor("sums", () -> new Adder(args[1], sums, left, done), "ticks");
        try (KafkaStreams streams = new KafkaStreams(topology, properties)) {
            streams.start();
            done.await();
        }
        System.out.println(sums);
    }

    /** One thread runs all of them, so that they share the sums. */
    private record Adder(
            String registryUrl, Sums sums, AtomicLong left, CountDownLatch done, List<RegistryDecoder> decoder)
            implements Processor<byte[], byte[], Void, Void> {
        Adder(String registryUrl, Sums sums, AtomicLong left, CountDownLatch done) {
            this(registryUrl, sums, left, done, List.of(new RegistryDecoder(registryUrl)));
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            try {
                sums.add(decoder.get(0).decode(record.value()));
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
            if (left.decrementAndGet() == 0) {
                done.countDown();
            }
        }
    }
}
