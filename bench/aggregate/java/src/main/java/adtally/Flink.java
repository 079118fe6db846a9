package adtally;

import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.util.Collector;

/**
 * The job in a local Flink: repeats are taken out by keyed state that lives for
 * the horizon, the rest is counted and summed by cell in windows of a minute,
 * on the heap. Durable means a checkpoint, exactly once, every half second.
 */
final class Flink {
    private Flink() {}

    /** Arguments: brokers, topic, events, durable or memory, a name, a folder. */
    public static void main(String[] args) throws Exception {
        Progress.expect(Long.parseLong(args[2]));
        Configuration config = new Configuration();
        config.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(64));
        config.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + args[5]);
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(2, config);
        env.getConfig().enableObjectReuse();
        if (args[3].equals("durable")) {
            env.enableCheckpointing(500);
        }
        KafkaSource<byte[]> source = KafkaSource.<byte[]>builder()
                .setBootstrapServers(args[0]).setTopics(args[1]).setGroupId(args[4])
                .setStartingOffsets(OffsetsInitializer.earliest()).setBounded(OffsetsInitializer.latest())
                .setValueOnlyDeserializer(new Raw()).build();
        env.fromSource(source, WatermarkStrategy.forBoundedOutOfOrderness(Duration.ofMinutes(2)), "events")
                .map(Flink::read).returns(Types.TUPLE(Types.STRING, Types.STRING, Types.LONG))
                .keyBy(e -> e.f0, Types.STRING)
                .process(new Once()).returns(Types.TUPLE(Types.STRING, Types.LONG, Types.LONG))
                .keyBy(e -> e.f0, Types.STRING)
                .window(TumblingEventTimeWindows.of(Duration.ofMinutes(1)))
                .reduce((a, b) -> Tuple3.of(a.f0, a.f1 + b.f1, a.f2 + b.f2))
                .map(Flink::tell).returns(Types.LONG)
                .sinkTo(new DiscardingSink<>());
        env.execute(args[4]);
        Progress.end();
        Thread.sleep(60_000); // the harness reads our figures and ends us
    }

    private static Tuple3<String, String, Long> read(byte[] value) {
        Progress.read();
        Event e = Event.read(value);
        return Tuple3.of(Event.text(e.id), Event.text(e.cell), e.spend);
    }

    private static Long tell(Tuple3<String, Long, Long> cell) {
        Progress.COUNTED.addAndGet(cell.f1);
        Progress.SPEND.addAndGet(cell.f2);
        return cell.f1;
    }

    /** Bytes as they are. */
    private static final class Raw extends AbstractDeserializationSchema<byte[]> {
        @Override
        public byte[] deserialize(byte[] message) {
            return message;
        }
    }

    /** Lets an event pass that was not seen within the horizon. */
    private static final class Once extends KeyedProcessFunction<String, Tuple3<String, String, Long>, Tuple3<String, Long, Long>> {
        private transient ValueState<Boolean> seen;

        @Override
        public void open(OpenContext context) {
            ValueStateDescriptor<Boolean> descriptor = new ValueStateDescriptor<>("seen", Types.BOOLEAN);
            descriptor.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofHours(6)).build());
            seen = getRuntimeContext().getState(descriptor);
        }

        @Override
        public void processElement(Tuple3<String, String, Long> e, Context context, Collector<Tuple3<String, Long, Long>> out)
                throws Exception {
            if (seen.value() != null) {
                Progress.REPEATED.incrementAndGet();
                return;
            }
            seen.update(true);
            out.collect(Tuple3.of(e.f1, 1L, e.f2));
        }
    }
}
