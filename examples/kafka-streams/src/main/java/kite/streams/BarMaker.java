package kite.streams;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import kite.consumer.RegistryDecoder;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Adds ticks to bars, and writes those that have changed.
 *
 * <p>All state is in the stores, also which bars are still to be written: a crash loses none. An
 * instrument's ticks are in one partition, so that all of its bars are here.
 */
final class BarMaker implements Processor<byte[], byte[], String, String> {
    static final List<String> STORES = List.of("minutes", "seen", "changed");
    private static final long DAY = 24 * 60;
    private static final long INDIA = 5 * 60 + 30;
    // a tick that comes so many minutes behind its instrument's newest one is left out
    private static final long LATE = 60;

    private final String registryUrl;
    private final AtomicLong lastRecord;
    private final Map<Long, Long> newest = new HashMap<>();
    private ProcessorContext<String, String> context;
    private RegistryDecoder decoder;
    private KeyValueStore<String, String> minutes;
    private KeyValueStore<String, String> seen;
    private KeyValueStore<String, String> changed;

    BarMaker(String registryUrl, AtomicLong lastRecord) {
        this.registryUrl = registryUrl;
        this.lastRecord = lastRecord;
    }

    @Override
    public void init(ProcessorContext<String, String> context) {
        this.context = context;
        decoder = new RegistryDecoder(registryUrl);
        minutes = context.getStateStore("minutes");
        seen = context.getStateStore("seen");
        changed = context.getStateStore("changed");
        context.schedule(
                Duration.ofSeconds(1), PunctuationType.WALL_CLOCK_TIME, this::writeChanged);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        lastRecord.set(System.nanoTime());
        GenericRecord tick;
        try {
            tick = decoder.decode(record.value());
        } catch (RegistryDecoder.NoTickException error) {
            // the next start would come to it again
            System.err.printf("passed over: %s: %s%n", place(), error.getMessage());
            return;
        } catch (IOException | InterruptedException error) {
            // Streams stops here and goes on with this record when it is started again
            throw new IllegalStateException("the registry cannot be asked", error);
        }
        if ((Boolean) tick.get("snapshot")) {
            return;
        }
        long token = (Long) tick.get("instrument_token");
        long minute = Math.floorDiv((Long) tick.get("event_time"), 60_000L);
        long last = newest.computeIfAbsent(token, this::newestMinute);
        if (minute < last - LATE) {
            return;
        }
        String key = key(token, minute);
        String identity =
                key + " " + tick.get("slot") + " " + tick.get("session_id") + " "
                        + tick.get("sequence");
        if (seen.putIfAbsent(identity, "") != null) {
            return;
        }
        String known = minutes.get(key);
        Bar bar = known == null ? new Bar() : Bar.decoded(known);
        bar.add(tick, minute);
        minutes.put(key, bar.encoded());
        changed.put(key, "");
        // the volume of the bar behind is counted from this one's
        first(minutes.range(key(token, minute + 1), key(token, lastOfDay(minute))), changed);
        if (minute > last) {
            newest.put(token, minute);
            forget(seen, token, minute - LATE);
            forget(minutes, token, minute - 2 * DAY);
        }
    }

    private void writeChanged(long timestamp) {
        List<String> keys = new ArrayList<>();
        try (KeyValueIterator<String, String> all = changed.all()) {
            all.forEachRemaining(entry -> keys.add(entry.key));
        }
        for (String key : keys) {
            String text = minutes.get(key);
            if (text != null) {
                context.forward(
                        new Record<>(key, Bar.decoded(text).written(before(key)), timestamp));
            }
            changed.delete(key);
        }
    }

    private Bar before(String key) {
        String[] parts = key.split(" ");
        long token = Long.parseLong(parts[0]);
        long minute = Long.parseLong(parts[1]);
        String from = key(token, lastOfDay(minute) - DAY + 1);
        try (KeyValueIterator<String, String> bars =
                minutes.reverseRange(from, key(token, minute - 1))) {
            return bars.hasNext() ? Bar.decoded(bars.next().value) : null;
        }
    }

    private long newestMinute(long token) {
        try (KeyValueIterator<String, String> bars =
                minutes.reverseRange(key(token, 0), key(token, Integer.MAX_VALUE))) {
            return bars.hasNext() ? Long.parseLong(bars.next().key.split(" ")[1]) : 0;
        }
    }

    private static void first(
            KeyValueIterator<String, String> found, KeyValueStore<String, String> into) {
        try (found) {
            if (found.hasNext()) {
                into.put(found.next().key, "");
            }
        }
    }

    private static void forget(KeyValueStore<String, String> store, long token, long before) {
        List<String> keys = new ArrayList<>();
        try (KeyValueIterator<String, String> old = store.range(key(token, 0), key(token, before))) {
            for (; old.hasNext(); keys.add(old.next().key)) {}
        }
        keys.forEach(store::delete);
    }

    /** Keys sort by token and time. */
    private static String key(long token, long minute) {
        return String.format("%010d %010d", token, minute);
    }

    /** The last minute of the day in India. */
    private static long lastOfDay(long minute) {
        return (Math.floorDiv(minute + INDIA, DAY) + 1) * DAY - INDIA - 1;
    }

    /** Topic, partition and offset of the record. */
    private String place() {
        return context.recordMetadata()
                .map(at -> at.topic() + " " + at.partition() + " " + at.offset())
                .orElse("a record");
    }
}
