package kite.streams;

import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Bars of one minute from the topics of ticks, as JSON in a topic that should be compacted.
 *
 * <p>What a bar is stands in docs/downstream.md. A bar is written anew when its ticks have changed,
 * once a second at most, under one key: the last record counts.
 */
public final class Bars {
    private Bars() {}

    public static void main(String[] args) throws Exception {
        if (args.length < 4) {
            System.err.println(
                    "usage: Bars bootstrap-servers registry-url topic-pattern output-topic"
                            + " [application-id] [end-after-idle-seconds]");
            System.exit(2);
        }
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        // also the name of the consumer group, and the beginning of the internal topics' names
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, args.length > 4 ? args[4] : "kite-bars");
        // else Kafka Streams would try for five minutes, and say nothing
        if (!exists(properties, args[3])) {
            fail("there is no topic " + args[3] + ": make it first, with cleanup.policy=compact");
        }
        AtomicLong lastRecord = new AtomicLong();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        KafkaStreams streams =
                new KafkaStreams(topology(args[1], args[2], args[3], lastRecord), properties);
        streams.setUncaughtExceptionHandler(
                error -> {
                    failure.set(error);
                    return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
                });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(30))));
        streams.start();
        long idle =
                args.length > 5
                        ? Duration.ofSeconds(Long.parseLong(args[5])).toNanos()
                        : Long.MAX_VALUE;
        while (failure.get() == null
                && (lastRecord.get() == 0 || System.nanoTime() - lastRecord.get() < idle)) {
            Thread.sleep(200);
        }
        if (failure.get() != null) {
            fail(innermost(failure.get()).toString());
        }
        System.exit(0);
    }

    private static boolean exists(Properties properties, String topic) throws Exception {
        try (Admin admin = Admin.create(properties)) {
            admin.describeTopics(List.of(topic)).allTopicNames().get();
            return true;
        } catch (ExecutionException error) {
            if (error.getCause() instanceof UnknownTopicOrPartitionException) {
                return false;
            }
            throw error;
        }
    }

    private static Throwable innermost(Throwable error) {
        return error.getCause() == null ? error : innermost(error.getCause());
    }

    private static void fail(String reason) {
        System.err.println("Bars: " + reason);
        System.exit(1);
    }

    static Topology topology(
            String registryUrl, String topicPattern, String output, AtomicLong lastRecord) {
        Topology topology = new Topology();
        topology.addSource(
                "ticks",
                Serdes.ByteArray().deserializer(),
                Serdes.ByteArray().deserializer(),
                Pattern.compile(topicPattern));
        topology.addProcessor("bar-maker", () -> new BarMaker(registryUrl, lastRecord), "ticks");
        for (String store : BarMaker.STORES) {
            topology.addStateStore(store(store), "bar-maker");
        }
        topology.addSink(
                "bars",
                output,
                Serdes.String().serializer(),
                Serdes.String().serializer(),
                "bar-maker");
        return topology;
    }

    private static StoreBuilder<KeyValueStore<String, String>> store(String name) {
        return Stores.keyValueStoreBuilder(
                        Stores.persistentKeyValueStore(name), Serdes.String(), Serdes.String())
                .withCachingEnabled();
    }
}
