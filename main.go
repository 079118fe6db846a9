// Command adtally counts ads: beacons in over HTTP, reports out.
// This file and its neighbours only wire the roles together; what they do is in
// the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // reports know every zone, also where the system has none

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"github.com/adtally/adtally/internal/dev"
	"github.com/adtally/adtally/internal/ops"
)

// version is set when the program is built.
var version = "dev"

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const envPrefix = "ADTALLY"

type cli struct {
	Log ops.LogConfig `embed:"" prefix:"log-"`

	Run        runCmd        `cmd:"" help:"Start everything in one process, on embedded servers."`
	Ingest     ingestCmd     `cmd:"" help:"Take beacons over HTTP into Kafka."`
	Aggregate  aggregateCmd  `cmd:"" help:"Count the topic into the ledger."`
	Compact    compactCmd    `cmd:"" help:"Make cuts: add the ledger up into the rollups that reports read."`
	Query      queryCmd      `cmd:"" help:"Serve reports from the ledger."`
	Close      closeCmd      `cmd:"" help:"Close a day, so that its numbers do not change any more."`
	Export     exportCmd     `cmd:"" help:"Write a closed day as files that prove themselves, or check such files."`
	Reclassify reclassifyCmd `cmd:"" help:"Apply verdicts or amounts to the books as dated corrections; closed days get adjustments."`
	Reconcile  reconcileCmd  `cmd:"" help:"Explain where another side's totals differ from the books."`
	Erase      eraseCmd      `cmd:"" help:"Certify what is held of a user, what was removed and what remains until when."`
	Migrate    migrateCmd    `cmd:"" help:"Make or update the tables in ClickHouse."`
	Token      tokenCmd      `cmd:"" help:"Sign tokens for beacon URLs: JSON lines in, a token a line out."`
	Key        keyCmd        `cmd:"" help:"Make, list and revoke API keys."`
	Account    accountCmd    `cmd:"" help:"Name advertisers and set their currency and time zone."`
	Doctor     doctorCmd     `cmd:"" help:"Say how ingest reads a beacon URL, a token or a body of events; counts nothing."`
	Audit      auditCmd      `cmd:"" help:"Prove that the books add up: where every accepted event went."`
	Replay     replayCmd     `cmd:"" help:"Count the log again beside the books and print every cell that differs; writes nothing."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// env is what a command gets from its surroundings.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	log            zerolog.Logger
}

func main() {
	dev.ChildMain() // does not return in the embedded server's process
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is the program without its process.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c cli
	exited, code := false, exitDone
	parser, err := kong.New(&c,
		kong.Name("adtally"),
		kong.Description("Counts ads: beacons in, reports out. Every setting is a flag and an environment variable, "+envPrefix+"_ and the name of the flag."),
		kong.DefaultEnvars(envPrefix),
		kong.PostBuild(addShortNames),
		kong.Vars{"visitor_agent": visitorAgent},
		kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { exited, code = true, n }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	)
	if err != nil {
		panic("BUG: command line: " + err.Error())
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if err := unknownSettings(parser.Model, environ); err != nil {
		fmt.Fprintln(stderr, "adtally:", err)
		return exitUsage
	}
	command, err := parser.Parse(args)
	if exited {
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "adtally: %s\n", err)
		return exitUsage
	}
	log, err := ops.NewLogger(c.Log, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "adtally:", err)
		return exitUsage
	}
	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(&env{stdin: stdin, stdout: stdout, stderr: stderr, log: log}); err != nil {
		fmt.Fprintln(stderr, "adtally:", err)
		if _, usage := errors.AsType[*usageError](err); usage {
			return exitUsage
		}
		return exitFailed
	}
	return exitDone
}

// usageError is a command line that parses but cannot be meant.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func wrongUsage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// shortNames are settings that also go by a name without that of their role.
var shortNames = map[string]string{"ingest-max-event-age": "max-event-age"}

// addShortNames lets the flags of shortNames, and their variables, have both
// names.
func addShortNames(k *kong.Kong) error {
	return kong.Visit(k.Model, func(n kong.Visitable, next kong.Next) error {
		if f, ok := n.(*kong.Flag); ok && shortNames[f.Name] != "" {
			short := shortNames[f.Name]
			f.Aliases = append(f.Aliases, short)
			f.Envs = append(f.Envs, envPrefix+"_"+strings.ToUpper(strings.ReplaceAll(short, "-", "_")))
			f.Tag.Envs = f.Envs
		}
		return next(nil)
	})
}

// unknownSettings finds ADTALLY_ variables that no flag reads: a mistyped name
// would otherwise be a setting that silently does nothing.
func unknownSettings(model *kong.Application, environ []string) error {
	known := make(map[string]bool)
	var collect func(n *kong.Node)
	collect = func(n *kong.Node) {
		for _, f := range n.Flags {
			for _, name := range f.Envs {
				known[name] = true
			}
		}
		for _, child := range n.Children {
			collect(child)
		}
	}
	collect(model.Node)
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !known[name] {
			return fmt.Errorf("environment variable %s is not a setting; the nearest is %s", name, nearest(name, known))
		}
	}
	return nil
}

// nearest returns the known name that shares most with name.
func nearest(name string, known map[string]bool) string {
	best, score := "", -1
	names := make([]string, 0, len(known))
	for k := range known {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		n := 0
		for n < min(len(k), len(name)) && k[n] == name[n] {
			n++
		}
		for i := 1; i <= min(len(k), len(name)) && k[len(k)-i] == name[len(name)-i]; i++ {
			n++
		}
		if n > score {
			best, score = k, n
		}
	}
	return best
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.stdout, "adtally", version)
	return err
}
