package adtally;

import com.google.protobuf.CodedInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * What the job needs of an event. The fields are read by hand, as the generated
 * class would read twice as many.
 */
final class Event {
    /** Type and id: what makes two events repeats of each other. */
    final byte[] id = new byte[17];
    /** All dimensions, the minute, the type and the flags. */
    byte[] cell;
    /** What the event costs, in nano-units. */
    long spend;

    private static final int CPM = 1, CPC = 2, CPA = 3, FLAT = 4;
    private static final int IMPRESSION = 1, CLICK = 3, CONVERSION = 4;

    /** Reads one event. */
    static Event read(byte[] value) {
        try {
            return new Event().parse(CodedInputStream.newInstance(value));
        } catch (IOException e) {
            throw new IllegalArgumentException("not an event", e);
        }
    }

    private Event parse(CodedInputStream in) throws IOException {
        long hi = 0, lo = 0, time = 0, price = 0;
        int type = 0, pricing = 0, flags = 0, length = 0;
        long[] ids = new long[6];
        byte[][] texts = new byte[7][];
        for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
            int field = tag >>> 3;
            switch (field) {
                case 1 -> type = in.readEnum();
                case 2 -> hi = in.readFixed64();
                case 3 -> lo = in.readFixed64();
                case 6 -> time = in.readInt64();
                case 8, 9, 10, 11, 12, 13 -> ids[field - 8] = in.readUInt64();
                case 14, 15, 16, 17, 18, 19, 23 -> {
                    byte[] text = in.readByteArray();
                    texts[field == 23 ? 6 : field - 14] = text;
                    length += text.length;
                }
                case 21 -> price = in.readInt64();
                case 22 -> pricing = in.readEnum();
                case 24 -> flags = in.readUInt32();
                default -> in.skipField(tag);
            }
        }
        ByteBuffer.wrap(id).put((byte) type).putLong(hi).putLong(lo);
        ByteBuffer key = ByteBuffer.allocate(6 * 8 + 4 + 1 + 4 + texts.length + length);
        for (long v : ids) {
            key.putLong(v);
        }
        key.putInt((int) (time / 60_000_000)).put((byte) type).putInt(flags);
        for (byte[] text : texts) {
            key.put((byte) (text == null ? 0 : text.length));
            if (text != null) {
                key.put(text);
            }
        }
        cell = key.array();
        boolean bills = pricing == FLAT || pricing == CPM && type == IMPRESSION
                || pricing == CPC && type == CLICK || pricing == CPA && type == CONVERSION;
        spend = flags == 0 && bills ? price : 0;
        return this;
    }

    /** The bytes as a key that has equals and hashCode. */
    static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.ISO_8859_1);
    }
}
