package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/epm"
)

// templates prints the four webhook templates, each under the name of its
// event in EPM.
func templates(_ context.Context, p Env, args []string) error {
	if len(args) > 0 {
		return errors.New("templates takes no arguments")
	}
	for _, t := range epm.Templates() {
		if _, err := fmt.Fprintf(p.Stdout, "# Event: %s\n%s\n", t.Event, t.Body); err != nil {
			return err
		}
	}
	return nil
}

// slackManifest prints the manifest from which a Slack app is made.
func slackManifest(_ context.Context, p Env, args []string) error {
	flags := flag.NewFlagSet("slack-manifest", flag.ContinueOnError)
	flags.SetOutput(p.Stderr)
	mode := flags.String("mode", "socket", "how Slack reaches the bot: `http or socket`")
	url := flags.String("url", "", "the bot's public `address`, for example https://countersign.example.com; needed for http")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := slack.Manifest(*mode, *url)
	if err != nil {
		return err
	}
	_, err = p.Stdout.Write(text)
	return err
}
