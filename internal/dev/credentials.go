package dev

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Credentials are what one ClickHouse user logs in with.
type Credentials struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// passwordHash is how users.xml knows the password.
func (c Credentials) passwordHash() string {
	sum := sha256.Sum256([]byte(c.Password))
	return hex.EncodeToString(sum[:])
}

type credentials struct {
	Writer Credentials `json:"writer"`
	Reader Credentials `json:"reader"`
}

// ReadCredentials reads the users of the server on dir (ClickHouseConfig.Dir),
// for tools that connect to a server somebody else runs.
func ReadCredentials(dir string) (writer, reader Credentials, err error) {
	c, err := readCredentials(dir)
	return c.Writer, c.Reader, err
}

func readCredentials(dir string) (c credentials, err error) {
	name := filepath.Join(dir, "credentials.json")
	raw, err := os.ReadFile(name) //nolint:gosec // in the directory that the user chose
	if err != nil {
		return c, fmt.Errorf("read clickhouse users: %w", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("read clickhouse users in %s: %w", name, err)
	}
	return c, nil
}

// ensureCredentials reads the users of dir, or makes them up the first time.
func ensureCredentials(dir string) (credentials, error) {
	c, err := readCredentials(dir)
	if !errors.Is(err, os.ErrNotExist) {
		return c, err
	}
	c.Writer = Credentials{User: "adtally_writer", Password: rand.Text()}
	c.Reader = Credentials{User: "adtally_reader", Password: rand.Text()}
	raw, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return c, fmt.Errorf("encode clickhouse users: %w", err)
	}
	return c, writeFile(filepath.Join(dir, "credentials.json"), raw)
}

// writeFile replaces name as a whole, readable by its owner only.
func writeFile(name string, data []byte) error {
	if err := os.WriteFile(name+".tmp", data, 0o600); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}
