package window

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adtally/adtally/proto"
)

// sameDecoding compares the walk with the generated decoder.
func sameDecoding(t *testing.T, b []byte) {
	t.Helper()
	var walked, generated event
	walkErr, generatedErr := walked.decode(b), generated.decodeGenerated(b)
	if (walkErr == nil) != (generatedErr == nil) {
		t.Fatalf("%x: the walk says %v, the generated decoder %v", b, walkErr, generatedErr)
	}
	if walkErr != nil {
		return
	}
	if !bytes.Equal(walked.texts, generated.texts) || split(walked.texts, nil) != split(generated.texts, nil) || walked.tooLong != generated.tooLong ||
		!bytes.Equal(walked.variant, generated.variant) || !bytes.Equal(walked.currency, generated.currency) {
		t.Fatalf("%x: texts are %q, want %q", b, walked.texts, generated.texts)
	}
	if !slices.Equal(walked.ids[:], generated.ids[:]) || walked.id != generated.id || walked.impression != generated.impression ||
		walked.typ != generated.typ || walked.pricing != generated.pricing || walked.flags != generated.flags ||
		walked.timeUs != generated.timeUs || walked.price != generated.price || walked.user != generated.user {
		t.Fatalf("%x:\n%+v\nwant\n%+v", b, walked, generated)
	}
}

func goldenRecords(tb testing.TB) [][]byte {
	tb.Helper()
	files, err := filepath.Glob("../../proto/testdata/event_*.hex")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no golden records: %v", err)
	}
	var records [][]byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			tb.Fatal(err)
		}
		records = append(records, b)
	}
	return records
}

// oddRecords are encodings that no ingest of ours writes.
func oddRecords(tb testing.TB) [][]byte {
	tb.Helper()
	full, err := (&proto.Event{Type: proto.EventType_EVENT_TYPE_CLICK, AdvertiserId: 1, Country: "DE"}).MarshalVT()
	if err != nil {
		tb.Fatal(err)
	}
	with := func(tail ...byte) []byte { return append(slices.Clone(full), tail...) }
	return [][]byte{
		nil,
		with(0x08, 1, 0x72, 1, 'X'), // a field twice: the last one counts
		with(0x88, 0x80, 0x00, 3),   // an overlong tag
		with(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),       // a varint of 63 bits for 32
		with(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), // more than 64 bits
		with(0xfa, 0x3f, 1, 'x'),     // an unknown field
		with(0xfb, 0x3f, 0xfc, 0x3f), // an unknown group
		with(0x0c),                   // the end of no group
		with(0x0d, 1, 2, 3, 4),       // the wrong wire type
		with(0x72, 200),              // a text that ends too early
		{0x7a, 0x87, 0x00, '0', '0', '0', '0', '0', '0', '0'}, // a length in more bytes than it needs
		with(0xca, 0x01, 2, 8, 1),                             // a vote
		with(0xca, 0x01, 2, 8, 0x80),                          // half a vote
		with(0xca, 0x01, 3, 0x22, 1, 'x'),                     // a vote with an unknown field
		with(0x11, 1, 2, 3),                                   // half a fixed64
		with(0x00, 0),                                         // field 0
	}
}

func TestWalkAgreesWithGeneratedDecoder(t *testing.T) {
	for _, b := range slices.Concat(goldenRecords(t), oddRecords(t)) {
		sameDecoding(t, b)
		for i := range b {
			sameDecoding(t, b[:i])
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, b := range slices.Concat(goldenRecords(f), oddRecords(f)) {
		f.Add(b)
	}
	f.Fuzz(sameDecoding)
}

func TestPoison(t *testing.T) {
	valid := func() *proto.Event {
		return &proto.Event{Type: proto.EventType_EVENT_TYPE_CLICK, AdvertiserId: 1, TimeUs: 1}
	}
	f := func(want string, change func(*proto.Event)) {
		t.Helper()
		ev := valid()
		change(ev)
		value, err := ev.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		p := &player{t: t}
		var d Delta
		NewState(Defaults(), p).FoldBatch([]Record{{Value: value, LAT: 1000}}, &d)
		if totals := d.Totals(); totals.Poison != 1 || totals.Records != 1 || d.Len() != 0 || !slices.Equal(p.told, []string{"poison: " + want}) {
			t.Errorf("totals %+v, told %q, want %q", totals, p.told, want)
		}
	}
	f("no event type", func(e *proto.Event) { e.Type = 0 })
	f("no event type", func(e *proto.Event) { e.Type = 256 })
	f("no advertiser", func(e *proto.Event) { e.AdvertiserId = 0 })
	f("event time before 1970 or after 2106", func(e *proto.Event) { e.TimeUs = 1 << 62 })
	f("event time before 1970 or after 2106", func(e *proto.Event) { e.TimeUs = -1 })
	f("price below 0 or above 1000000", func(e *proto.Event) { e.PriceNanos = -1 })
	f("price below 0 or above 1000000", func(e *proto.Event) { e.PriceNanos = maxPriceNanos + 1 })
	f("a dimension is longer than 255 bytes", func(e *proto.Event) { e.Variant = strings.Repeat("x", 1<<20) })
}
