#!/usr/bin/env bash
# goavro 2.15.0 (linkedin), a record with a timestamp-millis, one that may be null, and a long that may be null; decoded, and
# written as JSON by the codec's TextualFromNative. Avro's specification has the names of the types as keys there: "long".
# Expected: a union's value is a map with one key, the type's name: {"long": …} for both, and so in the JSON.
# Seen: the long's key is "long", the time's is "long.timestamp-millis". `last_trade_time.(map[string]any)["long"]` gives
# nil, as if nothing had been traded, without an error; and avro 1.12.2 (Apache's, for Java) refuses the JSON:
# "Unknown union branch long.timestamp-millis". NewCodecForStandardJSONFull writes plain JSON without any
# such keys. Needs Go 1.24 or newer, Java 17 or newer and Maven.
set -euo pipefail
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
export GONOSUMDB=github.com/linkedin
mkdir "$work/go"
cat > "$work/schema.json" <<'JSON'
{"type": "record", "name": "Tick", "fields": [
 {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
 {"name": "volume_traded", "type": ["null", "long"]},
 {"name": "last_trade_time", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]}]}
JSON
cat > "$work/go/main.go" <<'GO'
package main

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/linkedin/goavro/v2"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	schema := string(must(os.ReadFile(os.Args[1])))
	codec := must(goavro.NewCodec(schema))
	instant := binary.AppendVarint(nil, 1785732300000)
	body := append(append(append([]byte{}, instant...), 2, 10, 2), instant...)
	native, rest, err := codec.NativeFromBinary(body)
	if err != nil || len(rest) != 0 {
		panic(fmt.Sprint(err, rest))
	}
	fields := native.(map[string]any)
	fmt.Println(fields["event_time"], fields["volume_traded"], fields["last_trade_time"])
	must(0, os.WriteFile(os.Args[2], must(codec.TextualFromNative(nil, native)), 0o600))
	plain := must(goavro.NewCodecForStandardJSONFull(schema))
	must(0, os.WriteFile(os.Args[3], must(plain.TextualFromNative(nil, native)), 0o600))
}
GO
(cd "$work/go" && go mod init finding && go get github.com/linkedin/goavro/v2@v2.15.0 && go mod tidy \
  && go build -o "$work/program" .) >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>avro</artifactId><version>1</version>
<dependencies><dependency>
<groupId>org.apache.avro</groupId><artifactId>avro</artifactId><version>1.12.2</version>
</dependency></dependencies></project>
XML
mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/maven.log" 2>&1 \
  || { tail -20 "$work/maven.log"; exit 1; }
cat > "$work/Read.java" <<'JAVA'
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.avro.AvroTypeException;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.io.DecoderFactory;

public class Read {
    public static void main(String[] files) throws Exception {
        Schema schema = new Schema.Parser().parse(Files.readString(Path.of(files[0])));
        for (String key : new String[] {"long.timestamp-millis", "long"}) {
            String json = Files.readString(Path.of(files[1])).replace("long.timestamp-millis", key);
            try {
                Object read = new GenericDatumReader<>(schema).read(null, DecoderFactory.get().jsonDecoder(schema, json));
                System.out.println("Java with the key " + key + ": " + read);
            } catch (AvroTypeException error) {
                System.out.println("Java with the key " + key + ": " + error.getMessage());
            }
        }
    }
}
JAVA
native=$("$work/program" "$work/schema.json" "$work/avro.json" "$work/plain.json")
java=$(java -cp "$work/jars/*" "$work/Read.java" "$work/schema.json" "$work/avro.json" 2>/dev/null)
printf '%s\n' "$native" "$(cat "$work/avro.json")" "$(cat "$work/plain.json")" "$java"
# goavro writes the fields of its JSON in the order of a Go map: another one each time.
[ "$native" = "2026-08-03 04:45:00 +0000 UTC map[long:5] map[long.timestamp-millis:2026-08-03 04:45:00 +0000 UTC]" ] \
  || { echo "changed: goavro"; exit 1; }
grep -qF '"last_trade_time":{"long.timestamp-millis":1785732300000}' "$work/avro.json" || { echo "changed: JSON"; exit 1; }
grep -qF '"last_trade_time":1785732300000' "$work/plain.json" || { echo "changed: plain JSON"; exit 1; }
[ "$java" = 'Java with the key long.timestamp-millis: Unknown union branch long.timestamp-millis
Java with the key long: {"event_time": 1785732300000, "volume_traded": 5, "last_trade_time": 1785732300000}' ] \
  || { echo "changed: Java"; exit 1; }
echo "as described"
