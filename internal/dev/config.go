package dev

import (
	"bytes"
	_ "embed" // the templates of the server's configuration
	"encoding/xml"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed config.xml.tmpl
var configTemplate string

//go:embed users.xml.tmpl
var usersTemplate string

// writeConfig writes the server's configuration; each start writes it anew.
func (c *ClickHouse) writeConfig(eng engine) error {
	users := filepath.Join(c.cfg.Dir, "users.xml")
	err := render(users, usersTemplate, map[string]any{
		"Writer": c.credentials.Writer.passwordHash(),
		"Reader": c.credentials.Reader.passwordHash(),
		// How many statements count was seen with the pinned library only.
		"Limited": eng.kind == engineLibrary,
	})
	if err != nil {
		return err
	}
	return render(c.configFile(), configTemplate, map[string]any{
		"Log":   c.logFile(),
		"Users": users,
	})
}

func render(name, text string, data any) error {
	funcs := template.FuncMap{"xml": func(s string) (string, error) {
		var b strings.Builder
		err := xml.EscapeText(&b, []byte(s))
		return b.String(), err
	}}
	t, err := template.New(filepath.Base(name)).Funcs(funcs).Parse(text)
	if err != nil {
		return fmt.Errorf("parse template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return writeFile(name, b.Bytes())
}
