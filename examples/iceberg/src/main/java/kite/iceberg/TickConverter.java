package kite.iceberg;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import kite.consumer.RegistryDecoder;
import org.apache.avro.LogicalTypes;
import org.apache.avro.Schema.Field;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.data.Timestamp;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.storage.Converter;

/**
 * Gives Kafka Connect the values of our topics, each read with the schema of its own id.
 *
 * <p>In place of Confluent's AvroConverter, which is not on Maven Central. It only reads, and knows
 * the types that our schemas have.
 */
public final class TickConverter implements Converter {
    private final Map<org.apache.avro.Schema, Schema> schemas = new HashMap<>();
    private RegistryDecoder decoder;

    @Override
    public void configure(Map<String, ?> settings, boolean isKey) {
        decoder = new RegistryDecoder((String) settings.get("schema.registry.url"));
    }

    @Override
    public SchemaAndValue toConnectData(String topic, byte[] value) {
        if (value == null) {
            return SchemaAndValue.NULL;
        }
        GenericRecord record;
        try {
            record = decoder.decode(value);
        } catch (RegistryDecoder.NoTickException error) {
            throw new DataException(topic + ": " + error.getMessage(), error);
        } catch (IOException error) {
            // no fault of the record: it is tried again, for errors.retry.timeout
            throw new RetriableException("the registry cannot be asked", error);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new ConnectException("stopped", error);
        }
        Schema schema = schemas.computeIfAbsent(record.getSchema(), found -> schema(found, false));
        return new SchemaAndValue(schema, struct(record, schema));
    }

    @Override
    public byte[] fromConnectData(String topic, Schema schema, Object value) {
        throw new DataException("this converter only reads");
    }

    private static Schema schema(org.apache.avro.Schema avro, boolean nullable) {
        if (avro.getType() == org.apache.avro.Schema.Type.UNION) {
            return schema(avro.getTypes().get(1), true);
        }
        SchemaBuilder builder =
                switch (avro.getType()) {
                    case RECORD -> fields(avro);
                    case ARRAY -> SchemaBuilder.array(schema(avro.getElementType(), false));
                    case LONG ->
                            avro.getLogicalType() instanceof LogicalTypes.TimestampMillis
                                    ? Timestamp.builder()
                                    : SchemaBuilder.int64();
                    case INT -> SchemaBuilder.int32();
                    case DOUBLE -> SchemaBuilder.float64();
                    case BOOLEAN -> SchemaBuilder.bool();
                    case STRING -> SchemaBuilder.string();
                    default -> throw new DataException("no type of our topics: " + avro);
                };
        return nullable ? builder.optional().build() : builder.build();
    }

    private static SchemaBuilder fields(org.apache.avro.Schema avro) {
        SchemaBuilder builder = SchemaBuilder.struct().name(avro.getFullName());
        for (Field field : avro.getFields()) {
            builder.field(field.name(), schema(field.schema(), false));
        }
        return builder;
    }

    private static Struct struct(GenericRecord record, Schema schema) {
        Struct struct = new Struct(schema);
        for (org.apache.kafka.connect.data.Field field : schema.fields()) {
            struct.put(field, value(record.get(field.name()), field.schema()));
        }
        return struct;
    }

    private static Object value(Object value, Schema schema) {
        if (value == null) {
            return null;
        }
        if (value instanceof GenericRecord record) {
            return struct(record, schema);
        }
        if (value instanceof Collection<?> items) {
            List<Object> list = new ArrayList<>(items.size());
            items.forEach(item -> list.add(value(item, schema.valueSchema())));
            return list;
        }
        if (value instanceof CharSequence) {
            return value.toString();
        }
        return Timestamp.LOGICAL_NAME.equals(schema.name()) ? new Date((Long) value) : value;
    }
}
