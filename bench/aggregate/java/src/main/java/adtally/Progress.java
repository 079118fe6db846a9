package adtally;

import java.util.concurrent.atomic.AtomicLong;

/**
 * Tells the harness how far the job is: a line when a quarter of the log is
 * read, so that it can leave out the start of the virtual machine, and a line
 * with the totals when all of it is counted.
 */
final class Progress {
    private static long expected;
    private static final AtomicLong READ = new AtomicLong();
    private static final AtomicLong DONE = new AtomicLong();
    static final AtomicLong REPEATED = new AtomicLong();
    static final AtomicLong SPEND = new AtomicLong();
    static final AtomicLong COUNTED = new AtomicLong();

    private Progress() {}

    static void expect(long events) {
        expected = events;
    }

    static void read() {
        if (READ.incrementAndGet() == expected / 4) {
            System.out.println("warm " + expected / 4);
        }
    }

    /** One event is in its cell, or was found to be a repeat. */
    static void done() {
        if (DONE.incrementAndGet() == expected) {
            end();
        }
    }

    static void end() {
        System.out.println("end " + COUNTED.get() + " " + REPEATED.get() + " " + SPEND.get());
    }
}
