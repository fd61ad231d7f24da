package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/countersign/countersign/adapters/discord/discordtest"
)

type discordClickIn struct {
	Person   string `json:"person"`
	Channel  string `json:"channel"`
	Message  string `json:"message"`
	CustomID string `json:"custom_id"`
	Value    string `json:"value"` // of a menu; empty for a button
}

func (d *demoPage) discordClick(ctx context.Context, in discordClickIn) (any, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.discord.Person(who.Discord)
	if in.Value != "" {
		return nil, interactionFailed(person.Select(ctx, in.Channel, in.Message, in.CustomID, in.Value))
	}
	return nil, interactionFailed(person.Click(ctx, in.Channel, in.Message, in.CustomID))
}

// interactionFailed says of what has just gone that it has, and leaves of a bot
// that does not answer what Discord's client shows: nothing of why.
func interactionFailed(err error) error {
	switch {
	case errors.Is(err, discordtest.ErrNoSuchButton), errors.Is(err, discordtest.ErrNoSuchOption), errors.Is(err, discordtest.ErrNoSuchMessage):
		return errButtonGone
	case errors.Is(err, discordtest.ErrNoAnswer):
		return discordtest.ErrNoAnswer
	}
	return err
}

func (d *demoPage) discordDismiss(_ context.Context, in struct {
	Person  string `json:"person"`
	Message string `json:"message"`
}) (any, error) {
	person, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	d.discord.Person(person.Discord).Dismiss(in.Message)
	return nil, nil
}

// inModal is the person whose form the page shows.
func (d *demoPage) inModal(in formIn) (*discordtest.Person, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.discord.Person(who.Discord)
	m, ok := person.Modal()
	if !ok || m.CustomID != in.Form {
		return nil, errFormGone
	}
	in.only(m.Typed)
	return person, nil
}

func (d *demoPage) discordType(_ context.Context, in formIn) (any, error) {
	person, err := d.inModal(in)
	if err != nil {
		return nil, err
	}
	for field, value := range in.Values {
		if err := person.Type(field, value); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (d *demoPage) discordSubmit(ctx context.Context, in formIn) (any, error) {
	person, err := d.inModal(in)
	if err != nil {
		return nil, err
	}
	err = person.Submit(ctx, in.Values)
	var blocked *discordtest.BlockedError
	if errors.As(err, &blocked) {
		return map[string]any{"errors": blocked.Fields}, nil
	}
	return map[string]any{"errors": nil}, interactionFailed(err)
}

func (d *demoPage) discordClose(_ context.Context, in formIn) (any, error) {
	person, err := d.inModal(in)
	if err != nil {
		return nil, err
	}
	person.CloseModal()
	return nil, nil
}

func (d *demoPage) discordCommand(ctx context.Context, in struct {
	Person  string            `json:"person"`
	Command string            `json:"command"` // with its subcommand
	Options map[string]string `json:"options"`
}) (any, error) {
	person, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	_, err = d.discord.Person(person.Discord).Slash(ctx, demoDiscordChannel, in.Command, in.Options)
	return nil, interactionFailed(err)
}

// discordFile is a picture that somebody was shown.
func (d *demoPage) discordFile(w http.ResponseWriter, r *http.Request) {
	for _, p := range d.people {
		for _, e := range d.discord.Person(p.Discord).Ephemerals() {
			for _, f := range e.Files {
				if f.ID == r.PathValue("id") && f.ContentType == "image/png" {
					w.Header().Set("Content-Type", f.ContentType)
					_, _ = w.Write(f.Content) // the browser has gone
					return
				}
			}
		}
	}
	http.NotFound(w, r)
}
