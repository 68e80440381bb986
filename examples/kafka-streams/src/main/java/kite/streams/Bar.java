package kite.streams;

import com.fasterxml.jackson.annotation.JsonAutoDetect;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.List;
import org.apache.avro.generic.GenericRecord;

/** One minute of an instrument, as far as its ticks have come; each tick is added once. */
@JsonAutoDetect(fieldVisibility = JsonAutoDetect.Visibility.ANY)
final class Bar {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss").withZone(ZoneOffset.UTC);
    // what a reader of the bars has no use for
    private static final List<String> OWN = List.of("opening", "closing", "first_volume");

    String exchange;
    long instrument_token;
    String tradingsymbol;
    String bar_start;
    double open;
    double high;
    double low;
    double close;
    Long cumulative_volume;
    Double bid;
    Double ask;
    long ticks;
    // (event_time, receive_time_us, sequence) of the tick that opens, and of the one that closes
    long[] opening;
    long[] closing;
    Long first_volume;

    void add(GenericRecord tick, long minute) {
        long[] place = {
            (Long) tick.get("event_time"),
            (Long) tick.get("receive_time_us"),
            (Long) tick.get("sequence")
        };
        double price = (Double) tick.get("last_price");
        if (ticks == 0) {
            instrument_token = (Long) tick.get("instrument_token");
            bar_start = TIME.format(Instant.ofEpochSecond(minute * 60));
            high = low = price;
        }
        ticks++;
        high = Math.max(high, price);
        low = Math.min(low, price);
        if (opening == null || Arrays.compare(place, opening) < 0) {
            opening = place;
            open = price;
        }
        if (closing == null || Arrays.compare(place, closing) > 0) {
            closing = place;
            close = price;
            exchange = tick.get("exchange").toString();
            tradingsymbol = text(tick.get("tradingsymbol"));
            bid = bestPrice(tick, "buy");
            ask = bestPrice(tick, "sell");
        }
        Long volume = (Long) tick.get("volume_traded");
        if (volume != null) {
            first_volume = first_volume == null ? volume : Math.min(first_volume, volume);
            cumulative_volume =
                    cumulative_volume == null ? volume : Math.max(cumulative_volume, volume);
        }
    }

    /** The record of the bar, for whoever reads bars; `before` is the day's bar before, or null. */
    String written(Bar before) {
        ObjectNode row = JSON.valueToTree(this);
        row.remove(OWN);
        Long base =
                before == null || before.cumulative_volume == null
                        ? first_volume
                        : before.cumulative_volume;
        row.put("volume", cumulative_volume == null ? null : cumulative_volume - base);
        return row.toString();
    }

    String encoded() {
        try {
            return JSON.writeValueAsString(this);
        } catch (JsonProcessingException error) {
            throw new IllegalStateException(error);
        }
    }

    static Bar decoded(String text) {
        try {
            return JSON.readValue(text, Bar.class);
        } catch (JsonProcessingException error) {
            throw new IllegalStateException(error);
        }
    }

    private static Double bestPrice(GenericRecord tick, String side) {
        GenericRecord depth = (GenericRecord) tick.get("depth");
        if (depth == null) {
            return null;
        }
        return (Double) ((GenericRecord) ((List<?>) depth.get(side)).get(0)).get("price");
    }

    private static String text(Object value) {
        return value == null ? null : value.toString();
    }
}
