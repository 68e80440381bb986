package kite.consumer;

import java.util.List;
import org.apache.avro.generic.GenericRecord;

/** What readers are compared by; of prices in paise, so that the order does not matter. */
public final class Sums {
    private long ticks;
    private long volume;
    private long paise;
    private long noVolume;
    private long noOhlc;
    private long noDepth;
    private long noBestBid;
    private long bidLevel1;

    public void add(GenericRecord tick) {
        ticks++;
        paise += Math.round((Double) tick.get("last_price") * 100);
        Object traded = tick.get("volume_traded");
        if (traded == null) {
            noVolume++;
        } else {
            volume += (Long) traded;
        }
        noOhlc += tick.get("ohlc") == null ? 1 : 0;
        GenericRecord depth = (GenericRecord) tick.get("depth");
        if (depth == null) {
            noDepth++;
        } else {
            bidLevel1 += (Long) ((GenericRecord) ((List<?>) depth.get("buy")).get(0)).get("quantity");
        }
        // records of version 1 do not have it
        boolean known = tick.getSchema().getField("best_bid_price") != null;
        noBestBid += known && tick.get("best_bid_price") != null ? 0 : 1;
    }

    @Override
    public String toString() {
        return String.format(
                "{\"ticks\": %d, \"volume\": %d, \"paise\": %d, \"no_volume\": %d, \"no_ohlc\": %d,"
                        + " \"no_depth\": %d, \"no_best_bid\": %d, \"bid_level_1\": %d}",
                ticks, volume, paise, noVolume, noOhlc, noDepth, noBestBid, bidLevel1);
    }
}
