package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/adtally/adtally/bench/internal/measure"
	"github.com/adtally/adtally/internal/dev"
)

// javaEvents is the length of the log for what runs on the Java machine. Its
// first quarter only warms up.
const javaEvents = 800_000

const javaFolder = "bench/aggregate/java"

// java compares the aggregator with the same job in Kafka Streams and in Flink.
func java(ctx context.Context, l *lab) (err error) {
	if err := buildJava(ctx); err != nil {
		return err
	}
	s := shape{events: l.events, cells: 388_000, tenants: 250, partitions: 8}
	ours, err := l.fill(ctx, "java-ours", s)
	if err != nil {
		return err
	}
	genuine, err := l.onKafka(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, genuine.kafka.Kill(context.WithoutCancel(ctx))) }()
	s.events = min(l.events, javaEvents)
	theirs, err := genuine.fill(ctx, "java-theirs", s)
	if err != nil {
		return err
	}
	begin, err := l.starting(ctx, s.partitions)
	if err != nil {
		return err
	}
	candidates := []candidate{{"adtally aggregate", l.rounds, func() (float64, error) {
		k, err := l.count(ctx, ours, begin)
		return k.perEvent(), err
	}}}
	for _, job := range []struct{ name, class, mode string }{
		{"Kafka Streams, exactly once, change logs", "adtally.Streams", "durable"},
		{"Kafka Streams, in memory, nothing survives", "adtally.Streams", "memory"},
		{"Flink, heap state, checkpoint every 500 ms", "adtally.Flink", "durable"},
		{"Flink, heap state, no checkpoints", "adtally.Flink", "memory"},
	} {
		candidates = append(candidates, candidate{job.name, slowRounds, func() (float64, error) {
			return genuine.countByJava(ctx, theirs, job.class, job.mode)
		}})
	}
	return l.beside("aggregate-java.txt",
		"aggregate: the counting process beside the same job in Kafka Streams and in Flink; CPU of the process, of theirs without the first quarter of the log", candidates)
}

// onKafka returns the lab with a broker of Apache Kafka in place of kfake, which
// cannot make the topics that Kafka Streams asks for.
func (l *lab) onKafka(ctx context.Context) (*kafkaLab, error) {
	ports, err := dev.FreePorts(1)
	if err != nil {
		return nil, err
	}
	k := &kafkaLab{lab: *l}
	if k.kafka, err = dev.StartBroker(ctx, "scripts/kafka.sh", filepath.Join(l.dir, "kafka"), ports[0]); err != nil {
		return nil, err
	}
	k.broker = k.kafka.Addr()
	return k, nil
}

// kafkaLab is a lab with a broker of Apache Kafka.
type kafkaLab struct {
	lab
	kafka *dev.Broker
}

// buildJava compiles the job and fetches what it needs.
func buildJava(ctx context.Context) error {
	lib, err := filepath.Abs(filepath.Join(javaFolder, "target", "lib"))
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", filepath.Join(javaFolder, "pom.xml"), //nolint:gosec // our own folder
		"compile", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+lib).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the job in Java (it needs a JDK, 17 or later, and Maven): %w\n%s", err, out)
	}
	return nil
}

// countByJava runs a job on the topic and returns its CPU in nanoseconds per
// event.
func (l *lab) countByJava(ctx context.Context, t topic, class, mode string) (ns float64, err error) {
	l.runs++
	name := fmt.Sprintf("bench-%d", l.runs)
	state, err := os.MkdirTemp(l.dir, "java-")
	if err != nil {
		return 0, err
	}
	if mode == "durable" {
		out, err := l.fill(ctx, name+"-out", shape{partitions: t.partitions})
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, l.remove(ctx, out)) }()
	}
	p, err := measure.Talk(ctx, "java", "-Xmx3g", "--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", filepath.Join(javaFolder, "target", "classes")+":"+filepath.Join(javaFolder, "target", "lib", "*"),
		class, l.broker, t.name, strconv.FormatInt(t.records, 10), mode, name, state)
	if err != nil {
		return 0, err
	}
	defer p.Stop()
	stuck := time.AfterFunc(5*time.Minute, p.Stop)
	defer stuck.Stop()
	return javaCost(p, t)
}

// javaCost reads what the job tells: warm, then end with its totals.
func javaCost(p *measure.Process, t topic) (float64, error) {
	var warm time.Duration
	var skipped int64
	for lines := bufio.NewScanner(p.Out); lines.Scan(); {
		cpu, err := p.CPU()
		if err != nil {
			return 0, err
		}
		var counted, repeated, spend int64
		if _, err := fmt.Sscanf(lines.Text(), "warm %d", &skipped); err == nil {
			warm = cpu
			continue
		}
		if _, err := fmt.Sscanf(lines.Text(), "end %d %d %d", &counted, &repeated, &spend); err != nil {
			return 0, fmt.Errorf("unexpected line %q", lines.Text())
		}
		if counted+repeated != t.want.Gross || repeated != t.want.Duplicate || spend != t.want.Spend {
			return 0, fmt.Errorf("void: the job counts %d events, %d repeats and %d nanos, want %+v", counted, repeated, spend, t.want)
		}
		return float64((cpu - warm).Nanoseconds()) / float64(t.records-skipped), nil
	}
	return 0, errors.New("the job ended early:\n" + p.Log())
}
