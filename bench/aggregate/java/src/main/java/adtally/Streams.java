package adtally;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The job in Kafka Streams: repeats are taken out with a window store, the rest
 * is counted and summed by cell. Durable means exactly once with change logs, as
 * adtally promises; otherwise stores are in memory only and nothing survives.
 */
final class Streams {
    private static final Duration HORIZON = Duration.ofHours(6);

    private Streams() {}

    /** Arguments: brokers, topic, events, durable or memory, a name, a folder. */
    public static void main(String[] args) {
        Progress.expect(Long.parseLong(args[2]));
        boolean durable = args[3].equals("durable");
        Properties props = new Properties();
        props.put(StreamsConfig.APPLICATION_ID_CONFIG, args[4]);
        props.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        props.put(StreamsConfig.STATE_DIR_CONFIG, args[5]);
        props.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        props.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        props.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 500);
        props.put("auto.offset.reset", "earliest");
        if (durable) {
            props.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        }
        KafkaStreams streams = new KafkaStreams(topology(args[1], args[4], durable).build(), props);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null; // never reached
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private static StreamsBuilder topology(String topic, String name, boolean durable) {
        StreamsBuilder builder = new StreamsBuilder();
        StoreBuilder<WindowStore<Bytes, byte[]>> seen = Stores.windowStoreBuilder(
                durable ? Stores.persistentWindowStore("seen", HORIZON, HORIZON, false)
                        : Stores.inMemoryWindowStore("seen", HORIZON, HORIZON, false),
                Serdes.Bytes(), Serdes.ByteArray());
        KeyValueBytesStoreSupplier cells = durable ? Stores.persistentKeyValueStore("cells") : Stores.inMemoryKeyValueStore("cells");
        Materialized<Bytes, byte[], org.apache.kafka.streams.state.KeyValueStore<Bytes, byte[]>> kept =
                Materialized.<Bytes, byte[]>as(cells).withKeySerde(Serdes.Bytes()).withValueSerde(Serdes.ByteArray());
        if (!durable) {
            seen = seen.withLoggingDisabled();
            kept = kept.withLoggingDisabled();
        } else {
            seen = seen.withLoggingEnabled(Map.of());
        }
        builder.addStateStore(seen);
        var counted = builder.stream(topic, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .process((ProcessorSupplier<byte[], byte[], Bytes, byte[]>) Once::new, "seen")
                .groupByKey(Grouped.with(Serdes.Bytes(), Serdes.ByteArray()))
                .aggregate(() -> new byte[16], (cell, spend, sum) -> add(spend, sum), kept);
        if (durable) {
            counted.toStream().to(name + "-out", Produced.with(Serdes.Bytes(), Serdes.ByteArray()));
        }
        return builder;
    }

    private static byte[] add(byte[] spend, byte[] sum) {
        ByteBuffer old = ByteBuffer.wrap(sum);
        long amount = ByteBuffer.wrap(spend).getLong();
        byte[] next = new byte[16];
        ByteBuffer.wrap(next).putLong(old.getLong() + 1).putLong(old.getLong() + amount);
        Progress.COUNTED.incrementAndGet();
        Progress.SPEND.addAndGet(amount);
        Progress.done();
        return next;
    }

    /** Lets an event pass that was not seen within the horizon. */
    private static final class Once implements Processor<byte[], byte[], Bytes, byte[]> {
        private static final byte[] MARK = {1};
        private ProcessorContext<Bytes, byte[]> context;
        private WindowStore<Bytes, byte[]> seen;

        @Override
        public void init(ProcessorContext<Bytes, byte[]> context) {
            this.context = context;
            seen = context.getStateStore("seen");
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            Progress.read();
            Event event = Event.read(record.value());
            Bytes id = Bytes.wrap(event.id);
            try (var earlier = seen.fetch(id, record.timestamp() - HORIZON.toMillis(), record.timestamp())) {
                if (earlier.hasNext()) {
                    Progress.REPEATED.incrementAndGet();
                    Progress.done();
                    return;
                }
            }
            seen.put(id, MARK, record.timestamp());
            byte[] spend = ByteBuffer.allocate(8).putLong(event.spend).array();
            context.forward(record.withKey(Bytes.wrap(event.cell)).withValue(spend));
        }
    }
}
