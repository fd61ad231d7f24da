//go:build faults

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/slack"
)

// faultsVariable holds, as JSON, what the suite in tests/faults/ needs and no
// installation may have. Only a program built with the tag faults reads it;
// the ordinary one refuses it as an unknown variable.
const faultsVariable = envPrefix + "_FAULTS"

// overrides are the fields of the variable. What is left out stays as in
// production. Durations are in nanoseconds.
type overrides struct {
	// ClockFile holds how far this process's clock is off, for example
	// "-10m". The clock jumps within clockAge after it was written anew.
	ClockFile      string
	SlackPace      slack.Pace
	DiscordPace    discord.Pace
	DiscordGateway discord.Gateway
	EPMRate        rate.Limit
	Lease, Timeout time.Duration
	AnswerTime     time.Duration
}

// applyFaultOverrides is p with the overrides of the environment.
func applyFaultOverrides(p Env) Env {
	value := os.Getenv(faultsVariable)
	_ = os.Unsetenv(faultsVariable) // no variable of the configuration
	if value == "" {
		return p
	}
	var o overrides
	dec := json.NewDecoder(strings.NewReader(value))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		fmt.Fprintf(os.Stderr, "countersign: %s: %v\n", faultsVariable, err)
		os.Exit(2)
	}
	p.SlackPace, p.DiscordPace, p.DiscordGateway, p.EPMRate = o.SlackPace, o.DiscordPace, o.DiscordGateway, o.EPMRate
	p.Lease, p.Timeout, p.AnswerTime = o.Lease, o.Timeout, o.AnswerTime
	if o.ClockFile != "" {
		c := &wrongClock{file: o.ClockFile}
		p.Now = c.now
	}
	return p
}

// clockAge is how old a read offset may be: the clock is asked often.
const clockAge = 10 * time.Millisecond

// wrongClock is a clock that is off by what its file says.
type wrongClock struct {
	file string

	mu     sync.Mutex
	read   time.Time
	offset time.Duration
}

func (c *wrongClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.read) >= clockAge {
		c.read = now
		// A file that is missing or half written leaves the clock as it is.
		if text, err := os.ReadFile(c.file); err == nil {
			if d, err := time.ParseDuration(string(bytes.TrimSpace(text))); err == nil {
				c.offset = d
			}
		}
	}
	return now.Add(c.offset)
}
