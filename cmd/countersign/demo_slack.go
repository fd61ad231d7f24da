package main

import (
	"context"
	"errors"

	"github.com/countersign/countersign/adapters/slack/slacktest"
)

type slackClickIn struct {
	Person  string `json:"person"`
	Channel string `json:"channel"`
	TS      string `json:"ts"`
	Action  string `json:"action_id"`
	Value   string `json:"value"` // of a menu; empty for a button
}

func (d *demoPage) slackClick(ctx context.Context, in slackClickIn) (any, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.slack.Person(who.Slack)
	if in.Value != "" {
		return nil, slackGone(person.Choose(ctx, in.Channel, in.TS, in.Action, in.Value))
	}
	return nil, slackGone(person.Click(ctx, in.Channel, in.TS, in.Action))
}

// slackGone says of what has just gone that it has.
func slackGone(err error) error {
	if errors.Is(err, slacktest.ErrNoSuchButton) || errors.Is(err, slacktest.ErrNoSuchOption) || errors.Is(err, slacktest.ErrNoSuchField) || errors.Is(err, slacktest.ErrNoSuchMessage) {
		return errButtonGone
	}
	return err
}

// slackHome opens the home tab, or presses a button on it.
func (d *demoPage) slackHome(ctx context.Context, in struct {
	Person string `json:"person"`
	Action string `json:"action_id"`
	Value  string `json:"value"`
}) (any, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.slack.Person(who.Slack)
	if in.Action != "" {
		return nil, slackGone(person.ActHome(ctx, in.Action, in.Value))
	}
	return nil, person.OpenHome(ctx)
}

// inView is the person whose form the page shows. Another one may have come
// meanwhile; or the bot has taken fields out of it.
func (d *demoPage) inView(in formIn) (*slacktest.Person, error) {
	who, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	person := d.slack.Person(who.Slack)
	v, ok := person.View()
	if !ok || v.ID != in.Form {
		return nil, errFormGone
	}
	in.only(v.Typed)
	return person, nil
}

func (d *demoPage) slackType(_ context.Context, in formIn) (any, error) {
	_, err := d.slackFill(in)
	return nil, err
}

func (d *demoPage) slackFill(in formIn) (*slacktest.Person, error) {
	person, err := d.inView(in)
	if err != nil {
		return nil, err
	}
	for field, value := range in.Values {
		if err := person.Type(field, value); err != nil {
			return nil, err
		}
	}
	return person, nil
}

func (d *demoPage) slackAct(ctx context.Context, in formIn) (any, error) {
	person, err := d.slackFill(in)
	if err != nil {
		return nil, err
	}
	return nil, person.Act(ctx, in.Action, in.Value)
}

func (d *demoPage) slackSubmit(ctx context.Context, in formIn) (any, error) {
	person, err := d.inView(in)
	if err != nil {
		return nil, err
	}
	problems, err := person.Submit(ctx, in.Values)
	var blocked *slacktest.BlockedError
	if errors.As(err, &blocked) {
		problems, err = blocked.Fields, nil
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"errors": problems}, nil
}

func (d *demoPage) slackClose(ctx context.Context, in formIn) (any, error) {
	person, err := d.inView(in)
	if err != nil {
		return nil, err
	}
	return nil, person.CloseView(ctx)
}

func (d *demoPage) slackCommand(ctx context.Context, in struct {
	Person string `json:"person"`
	Text   string `json:"text"`
}) (any, error) {
	person, err := d.person(in.Person)
	if err != nil {
		return nil, err
	}
	_, err = d.slack.Person(person.Slack).CommandIn(ctx, demoChannel, "/epm", in.Text)
	return nil, err
}
