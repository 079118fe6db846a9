package ops

import (
	"context"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// watchInterval is how soon a changed file is noticed.
const watchInterval = 2 * time.Second

// Watched is a file that is loaded again when it changes: keys and lists, which
// must be renewable without a restart.
type Watched struct {
	// Path may be a link, as in a mounted secret.
	Path string
	// Load reads the file and puts what it holds to use. After an error what was
	// there before stays in use.
	Load func() error
}

// Watch looks after files until ctx is done. It asks the file system for size
// and time, not for events: mounted secrets and network volumes have none.
func Watch(ctx context.Context, files []Watched, log zerolog.Logger) error {
	return watch(ctx, files, watchInterval, log)
}

func watch(ctx context.Context, files []Watched, every time.Duration, log zerolog.Logger) error {
	seen := make([]stamp, len(files))
	for i, f := range files {
		seen[i] = stampOf(f.Path)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for i, f := range files {
			now := stampOf(f.Path)
			if now == seen[i] {
				continue
			}
			seen[i] = now
			if err := f.Load(); err != nil {
				log.Error().Err(err).Str("file", f.Path).Msg("file is not taken; what it held before stays in use")
				continue
			}
			log.Info().Str("file", f.Path).Msg("file loaded again")
		}
	}
}

// stamp tells two versions of a file apart; the zero stamp is no file.
type stamp struct {
	size int64
	time time.Time
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{size: info.Size(), time: info.ModTime()}
}
