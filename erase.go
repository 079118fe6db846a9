package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/adtally/adtally/ingest/consent"
)

type eraseCmd struct {
	books
	Advertiser   uint64        `help:"Advertiser under which the user was seen." required:"" env:"-"`
	User         string        `help:"The user's id, as clients send it. It is not written anywhere." required:"" env:"-"`
	UserKey      string        `help:"File of the key under which user ids are hashed; none means that of --data." type:"path"`
	UserRotation time.Duration `help:"How long one user keeps one hash." default:"2160h"`
	Certificate  string        `help:"File for the certificate; none prints it." type:"path" env:"-"`
}

// certificate says what was removed of a user and what remains until when.
type certificate struct {
	Made       time.Time `json:"made"`
	Advertiser uint64    `json:"advertiser,string"`
	// Hashes are the pseudonyms of the user in the periods that are kept.
	Hashes []pseudonym `json:"pseudonyms"`
	// Stores lists whatever holds identifiers or might be thought to.
	Stores []erasedStore `json:"stores"`
}

type pseudonym struct {
	Hash string    `json:"hash"`
	From time.Time `json:"from"`
}

type erasedStore struct {
	Store string `json:"store"`
	Holds string `json:"holds"`
	// Removed is what this erasure removed.
	Removed string `json:"removed"`
	// RemainsUntil is when the last of it is gone; nil for nothing that remains.
	RemainsUntil *time.Time `json:"remains_until"`
	Note         string     `json:"note,omitempty"`
}

// Run writes the certificate.
func (c *eraseCmd) Run(ctx context.Context, e *env) (err error) {
	if c.Advertiser == 0 {
		return wrongUsage("--advertiser: an id from 1 is wanted")
	}
	file := c.UserKey
	if file == "" && c.Data != "" {
		file = filepath.Join(c.Data, "user.key")
	}
	if file == "" {
		return wrongUsage("erase: name the key of user hashes: --user-key FILE or --data DIR")
	}
	secret, err := readKey(file)
	if err != nil {
		return err
	}
	hasher, err := consent.NewUserHasher(secret, c.UserRotation)
	if err != nil {
		return err
	}
	conn, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	oldest, retention, err := c.kept(ctx)
	if err != nil {
		return err
	}
	var sketches uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM uniques WHERE advertiser = ?", c.Advertiser).Scan(&sketches); err != nil {
		return fmt.Errorf("look for sketches: %w", err)
	}
	text, err := json.MarshalIndent(c.certify(hasher, oldest, retention, sketches), "", "  ")
	if err != nil {
		return fmt.Errorf("encode certificate: %w", err)
	}
	text = append(text, '\n')
	if c.Certificate != "" {
		return writeFile(c.Certificate, text)
	}
	_, err = e.stdout.Write(text)
	return err
}

// kept asks the brokers how far back the topic goes and how long it keeps events.
func (c *eraseCmd) kept(ctx context.Context) (oldest time.Time, retention time.Duration, err error) {
	opts, err := c.brokers()
	if err != nil {
		return oldest, 0, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return oldest, 0, fmt.Errorf("make Kafka client: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	configs, err := kadm.NewClient(client).DescribeTopicConfigs(ctx, c.Kafka.Topic)
	if err != nil {
		return oldest, 0, fmt.Errorf("ask how long the topic keeps events: %w", err)
	}
	config, err := configs.On(c.Kafka.Topic, nil)
	if err := errors.Join(err, config.Err); err != nil {
		return oldest, 0, fmt.Errorf("ask how long the topic keeps events: %w", err)
	}
	for _, entry := range config.Configs {
		if entry.Key == "retention.ms" && entry.Value != nil {
			if retention, err = time.ParseDuration(*entry.Value + "ms"); err != nil {
				return oldest, 0, fmt.Errorf("the topic's retention.ms %q: %w", *entry.Value, err)
			}
		}
	}
	if retention <= 0 {
		return oldest, 0, fmt.Errorf("topic %s keeps events for ever: set its retention.ms", c.Kafka.Topic)
	}
	return time.Now().Add(-retention), retention, nil
}

func (c *eraseCmd) certify(hasher *consent.UserHasher, oldest time.Time, retention time.Duration, sketches uint64) *certificate {
	now := time.Now().UTC().Truncate(time.Second)
	cert := &certificate{Made: now, Advertiser: c.Advertiser}
	last := uint64(0)
	for at := oldest.UTC().Truncate(24 * time.Hour); !at.After(now); at = at.AddDate(0, 0, 1) {
		if hash := hasher.Hash(c.Advertiser, []byte(c.User), at.UnixMicro()); hash != last {
			last = hash
			cert.Hashes = append(cert.Hashes, pseudonym{fmt.Sprintf("%016x", hash), at})
		}
	}
	gone := now.Add(retention)
	cert.Stores = []erasedStore{
		{Store: "ledger, rollups, closes, exports", Holds: "counts by dimensions; no identifier of a user", Removed: "nothing; there is nothing to remove, and closed books do not change"},
		{
			Store: "topic " + c.Kafka.Topic, Holds: "events with the pseudonym, the consent decision and no other identifier", Removed: "nothing: a log is only cut at its end",
			RemainsUntil: &gone, Note: "by the topic's retention; an event that arrives later is kept as long again",
		},
		{
			Store: "uniques", Holds: fmt.Sprintf("%d sketches of pseudonyms of the advertiser", sketches), Removed: "nothing: a sketch can be united, but no user can be taken out of it",
			Note: "without the key of user hashes a pseudonym is no user's; replace that key to part all sketches from all users",
		},
		{Store: "topic " + c.Kafka.Topic + "-rejected", Holds: "rejected events without user, address and agent", Removed: "nothing; there is nothing to remove"},
		{Store: "spool", Holds: "events that Kafka has not taken yet, as in the topic", Removed: "nothing: they leave it for the topic", Note: "for as long as the brokers are away"},
	}
	return cert
}
