#!/usr/bin/env bash
# jackson-dataformat-avro 2.20.1 (Maven), a record whose event_time is a long of logicalType timestamp-millis, 2026-08-03
# 04:45 UTC, read into a class with an Instant, with the module that Jackson has for java.time (JavaTimeModule of
# jackson-datatype-jsr310 2.20.1), and with AvroJavaTimeModule.
# Expected: the schema says milliseconds, so the Instant is 2026-08-03T04:45:00Z, with either module.
# Seen: with JavaTimeModule the logical type is not looked at, and the number counts as seconds: the year 58557, without
# an error; a java.util.Date of the same record is right. With AvroJavaTimeModule, of Avro's own jar, it is right.
# A mapper out of an application's usual set of modules has the first one. Needs Java 17 or newer and Maven.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>avro</artifactId><version>1</version>
<dependencies>
<dependency><groupId>com.fasterxml.jackson.dataformat</groupId><artifactId>jackson-dataformat-avro</artifactId><version>2.20.1</version></dependency>
<dependency><groupId>com.fasterxml.jackson.datatype</groupId><artifactId>jackson-datatype-jsr310</artifactId><version>2.20.1</version></dependency>
</dependencies></project>
XML
mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/maven.log" 2>&1 \
  || { tail -20 "$work/maven.log"; exit 1; }
cat > "$work/Read.java" <<'JAVA'
import com.fasterxml.jackson.databind.Module;
import com.fasterxml.jackson.dataformat.avro.AvroMapper;
import com.fasterxml.jackson.dataformat.avro.AvroSchema;
import com.fasterxml.jackson.dataformat.avro.jsr310.AvroJavaTimeModule;
import com.fasterxml.jackson.datatype.jsr310.JavaTimeModule;
import java.io.ByteArrayOutputStream;
import java.time.Instant;
import java.util.Date;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.EncoderFactory;

public class Read {
    public static class Tick { public Instant event_time; }
    public static class Dated { public Date event_time; }

    static <T> T read(Class<T> type, Schema schema, byte[] body, Module module) throws Exception {
        return AvroMapper.builder().addModule(module).build().readerFor(type).with(new AvroSchema(schema)).readValue(body);
    }

    public static void main(String[] arguments) throws Exception {
        Schema schema = new Schema.Parser().parse("""
            {"type": "record", "name": "Tick", "fields": [
             {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}""");
        GenericData.Record tick = new GenericData.Record(schema);
        tick.put("event_time", Instant.parse("2026-08-03T04:45:00Z").toEpochMilli());
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        var encoder = EncoderFactory.get().directBinaryEncoder(body, null);
        new GenericDatumWriter<GenericData.Record>(schema).write(tick, encoder);
        System.out.println(read(Tick.class, schema, body.toByteArray(), new JavaTimeModule()).event_time + " "
            + read(Dated.class, schema, body.toByteArray(), new JavaTimeModule()).event_time.toInstant() + " "
            + read(Tick.class, schema, body.toByteArray(), new AvroJavaTimeModule()).event_time);
    }
}
JAVA
seen=$(java -cp "$work/jars/*" "$work/Read.java" 2>/dev/null)
echo "Instant and Date with JavaTimeModule, Instant with AvroJavaTimeModule: $seen"
[ "$seen" = "+58557-08-08T22:00:00Z 2026-08-03T04:45:00Z 2026-08-03T04:45:00Z" ] || { echo "changed"; exit 1; }
echo "as described"
