package measure

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ServeBroker is kfake in this process until ctx is done. Every produce is
// answered only after the delay, as by a broker that waits for its replicas.
func ServeBroker(ctx context.Context, port, delay string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	wait, err := time.ParseDuration(delay)
	if err != nil {
		return err
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(n),
		kfake.BrokerConfigs(map[string]string{"log.message.timestamp.type": "LogAppendTime"}),
	}
	if wait > 0 {
		opts = append(opts, kfake.SleepOutOfOrder())
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return err
	}
	defer cluster.Close()
	if wait > 0 {
		cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			cluster.SleepControl(func() { time.Sleep(wait) })
			return nil, nil, false
		})
	}
	<-ctx.Done()
	return nil
}

// Stored is the number of records that the broker holds in the topics, in all
// of them if none is named.
func Stored(ctx context.Context, broker string, topics ...string) (int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topics...)
	if err != nil {
		return 0, err
	}
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n, ends.Error()
}
