package kite.consumer;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.regex.Pattern;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Prints every record of the topics that match, as a line of JSON; times are milliseconds. With
 * "sums" it prints sums over all ticks in their place, by which readers are compared.
 */
public final class Consume {
    private Consume() {}

    public static void main(String[] args) throws Exception {
        if (args.length < 3) {
            System.err.println("usage: Consume bootstrap-servers registry-url topic-pattern [until-end [sums]]");
            System.exit(2);
        }
        boolean untilEnd = args.length > 3 && args[3].equals("until-end");
        Sums sums = args.length > 4 && args[4].equals("sums") ? new Sums() : null;
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", "kite-example-java");
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        RegistryDecoder decoder = new RegistryDecoder(args[1]);
        try (KafkaConsumer<String, byte[]> consumer =
                new KafkaConsumer<>(
                        properties, new StringDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(Pattern.compile(args[2]));
            Map<TopicPartition, Long> ends = null;
            while (ends == null || !reached(consumer, ends)) {
                StringBuilder lines = new StringBuilder();
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    GenericRecord tick;
                    try {
                        tick = decoder.decode(record.value());
                    } catch (RegistryDecoder.NoTickException error) {
                        System.err.printf(
                                "passed over: %s %d %d: %s%n",
                                record.topic(), record.partition(), record.offset(),
                                error.getMessage());
                        continue;
                    }
                    if (sums != null) {
                        sums.add(tick);
                    } else {
                        lines.append(tick).append('\n');
                    }
                }
                System.out.write(lines.toString().getBytes(StandardCharsets.UTF_8));
                System.out.flush();
                if (untilEnd && ends == null && !consumer.assignment().isEmpty()) {
                    ends = consumer.endOffsets(consumer.assignment());
                }
            }
            if (sums != null) {
                System.out.println(sums);
            }
        }
    }

    private static boolean reached(
            KafkaConsumer<String, byte[]> consumer, Map<TopicPartition, Long> ends) {
        return ends.entrySet().stream()
                .allMatch(end -> consumer.position(end.getKey()) >= end.getValue());
    }
}
