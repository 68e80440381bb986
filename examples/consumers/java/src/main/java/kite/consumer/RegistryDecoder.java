package kite.consumer;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.SchemaParseException;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;

/**
 * Decodes values: a zero byte, four bytes of schema id, then Avro written with that schema.
 *
 * <p>In place of Confluent's KafkaAvroDeserializer, which is not on Maven Central. Not thread-safe.
 */
public final class RegistryDecoder {
    private static final int HEADER_BYTES = 5;

    /** The name that every version of the schema has. */
    private static final String TICK = "kite.Tick";

    private final String registryUrl;
    private final HttpClient http = HttpClient.newHttpClient();
    private final ObjectMapper json = new ObjectMapper();
    private final Map<Integer, GenericDatumReader<GenericRecord>> readers = new HashMap<>();
    private BinaryDecoder decoder;

    public RegistryDecoder(String registryUrl) {
        this.registryUrl = registryUrl;
    }

    /** A value that the connector has not written: whoever may write can put it there. */
    public static final class NoTickException extends IOException {
        NoTickException(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /**
     * The record of a value.
     *
     * @throws NoTickException no schema of the registry explains the value
     * @throws IOException the registry cannot say so now
     */
    public GenericRecord decode(byte[] value) throws IOException, InterruptedException {
        if (value == null || value.length < HEADER_BYTES || value[0] != 0) {
            throw new NoTickException("not framed with a schema id", null);
        }
        int id = ByteBuffer.wrap(value, 1, 4).getInt();
        GenericDatumReader<GenericRecord> reader = readers.get(id);
        if (reader == null) {
            // give GenericDatumReader your own schema as well to get the fields of just that one
            reader = new GenericDatumReader<>(schema(id));
            readers.put(id, reader);
        }
        decoder =
                DecoderFactory.get()
                        .binaryDecoder(value, HEADER_BYTES, value.length - HEADER_BYTES, decoder);
        if (!reader.getSchema().getFullName().equals(TICK)) {
            throw new NoTickException("of " + reader.getSchema().getFullName(), null);
        }
        GenericRecord record;
        boolean whole;
        try {
            record = reader.read(null, decoder);
            whole = decoder.isEnd();
        } catch (IOException | RuntimeException error) {
            throw new NoTickException("not of schema " + id, error);
        }
        if (!whole) {
            throw new NoTickException("longer than a record of schema " + id, null);
        }
        return record;
    }

    private Schema schema(int id) throws IOException, InterruptedException {
        HttpRequest request =
                HttpRequest.newBuilder(URI.create(registryUrl + "/schemas/ids/" + id))
                        .timeout(Duration.ofSeconds(30))
                        .build();
        HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        // 404 alone is also what a wrong path of the address gets
        if (answer.statusCode() == 404 && answer.body().contains("40403")) {
            throw new NoTickException("the registry has no schema " + id, null);
        }
        if (answer.statusCode() != 200) {
            throw new IOException("schema " + id + ": HTTP " + answer.statusCode());
        }
        String text = json.readTree(answer.body()).get("schema").asText();
        try {
            return new Schema.Parser().parse(text);
        } catch (SchemaParseException error) { // the registry keeps schemas of other formats too
            throw new NoTickException("schema " + id + " is no Avro schema", error);
        }
    }
}
