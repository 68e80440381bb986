#!/usr/bin/env bash
# kiteconnect 3.5.1 (Maven, Kite's own client for Java): getInstruments() reads the CSV that Kite answers with; here its
# reader is called three times (by reflection, since the client has Kite's address built in) on two instruments.
# Expected: two instruments each time, and nothing is left behind.
# Seen: each time the whole list is written to a file in java.io.tmpdir, which is deleted neither then nor when the program
# ends; a day's list has some 117 000 lines. So a service that asks each morning fills its disk, or a pod's /tmp in
# memory, bit by bit. (The strike of an instrument is a text.) Needs Java 17 or newer and Maven.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>kite</artifactId><version>1</version>
<dependencies><dependency>
<groupId>com.zerodhatech.kiteconnect</groupId><artifactId>kiteconnect</artifactId><version>3.5.1</version>
</dependency></dependencies></project>
XML
mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/maven.log" 2>&1 \
  || { tail -20 "$work/maven.log"; exit 1; }
cat > "$work/Instruments.java" <<'JAVA'
import com.zerodhatech.kiteconnect.KiteConnect;
import com.zerodhatech.models.Instrument;
import java.util.List;

public class Instruments {
    public static void main(String[] arguments) throws Exception {
        String csv = """
            instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,instrument_type,segment,exchange
            408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE
            15150594,59182,NIFTY26DEC26000CE,NIFTY,0,2026-12-29,26000,0.05,65,CE,NFO-OPT,NFO
            """;
        var read = KiteConnect.class.getDeclaredMethod("readCSV", String.class);
        read.setAccessible(true);
        for (int call = 0; call < 3; call++) {
            for (Object got : (List<?>) read.invoke(new KiteConnect("key"), csv)) {
                Instrument instrument = (Instrument) got;
                System.out.print(instrument.tradingsymbol + " " + instrument.strike + " ");
            }
        }
        System.exit(0);
    }
}
JAVA
mkdir "$work/tmp"
seen=$(java -Djava.io.tmpdir="$work/tmp" -cp "$work/jars/*" "$work/Instruments.java" 2>/dev/null)
left=$(find "$work/tmp" -name 'tempfile*.tmp' | wc -l)
echo "read: $seen"; echo "files left: $left"
each="INFY 0 NIFTY26DEC26000CE 26000 "
[ "$seen" = "$each$each$each" ] || { echo "changed: values"; exit 1; }
[ "$left" = 3 ] || { echo "changed: files"; exit 1; }
echo "as described"
