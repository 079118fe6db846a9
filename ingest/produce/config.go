package produce

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config holds the settings of the Kafka producer.
type Config struct {
	Linger      time.Duration `default:"2ms" help:"How long events of all requests gather before they go to Kafka together."`
	Compression string        `default:"none" enum:"none,lz4,snappy,zstd" help:"Compression of record batches: none, lz4, snappy or zstd."`
	MaxRecords  int           `default:"100000" help:"Records that wait for Kafka at once; more go to the spool, or are refused with 503."`
	MaxBytes    int           `default:"134217728" help:"Memory for events that wait for Kafka; more go to the spool, or are refused with 503."`
}

// Validate reports the first setting that cannot work.
func (c *Config) Validate() error {
	if c.Linger < 0 || c.Linger > time.Second {
		return fmt.Errorf("produce linger is %v, it must be 0 to 1s", c.Linger)
	}
	if c.MaxRecords < 1 || c.MaxBytes < 1<<20 {
		return errors.New("produce max records must be at least 1 and max bytes at least 1 MiB")
	}
	_, err := codec(c.Compression)
	return err
}

func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	default:
		return kgo.CompressionCodec{}, errors.New("compression must be none, lz4, snappy or zstd")
	}
}
