package measure

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/adtally/adtally/internal/dev"
)

// Main runs a benchmark with the arguments of its command until it is over or
// interrupted, and ends the process if it failed.
func Main(run func(ctx context.Context, args []string) error) {
	dev.ChildMain()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
