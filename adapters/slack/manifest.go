package slack

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/url"
	"strings"
	"text/template"
)

//go:embed manifest.yaml.tmpl
var manifestText string

var manifestTemplate = template.Must(template.New("manifest").Parse(manifestText))

// The modes of a manifest.
const (
	ModeHTTP   = "http"
	ModeSocket = "socket"
)

// Manifest is the app manifest that an admin pastes at
// https://api.slack.com/apps, as YAML. mode is [ModeHTTP] or [ModeSocket];
// address is where Slack reaches the bot, for example
// https://countersign.example.com, and is not used in Socket Mode. The
// manifest goes by the schema of github.com/slackapi/manifest-schema.
func Manifest(mode, address string) ([]byte, error) {
	address = strings.TrimRight(strings.TrimSpace(address), "/")
	switch mode {
	case ModeSocket:
		address = ""
	case ModeHTTP:
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			strings.ContainsAny(address, "\"\\ \n\t") {
			return nil, fmt.Errorf("slack manifest: in mode %s the URL must be https://HOST, as Slack reaches the bot", ModeHTTP)
		}
	default:
		return nil, fmt.Errorf("slack manifest: the mode must be %s or %s", ModeHTTP, ModeSocket)
	}
	var out bytes.Buffer
	if err := manifestTemplate.Execute(&out, struct{ URL string }{address}); err != nil {
		return nil, fmt.Errorf("slack manifest: %w", err)
	}
	return out.Bytes(), nil
}
