package slack

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters/chatkit"
)

func (c *Chat) open(ctx context.Context, trigger string, v slack.ModalViewRequest) error {
	c.lintView(v)
	return c.call(ctx, "views.open", "", true, func() error {
		_, err := c.api().OpenViewContext(ctx, trigger, v)
		return err
	})
}

// lintView tells the operator what Slack may refuse: a form has no simpler
// stand-in, so it is tried.
func (c *Chat) lintView(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		c.log.Error("a form cannot be written", "err", err)
		return
	}
	if wrong := lintView(raw); len(wrong) > 0 {
		c.log.Error("a form breaks slack's limits", "limits", strings.Join(wrong, "; "))
	}
}

func (c *Chat) update(ctx context.Context, viewID, hash string, v slack.ModalViewRequest) error {
	c.lintView(v)
	_, err := c.updated(ctx, viewID, hash, v)
	return err
}

// updated is update, and returns the view's new hash.
func (c *Chat) updated(ctx context.Context, viewID, hash string, v slack.ModalViewRequest) (now string, err error) {
	err = c.call(ctx, "views.update", "", false, func() error {
		res, err := c.api().UpdateViewContext(ctx, v, "", hash, viewID)
		if err == nil {
			now = res.Hash
		}
		return err
	})
	return now, err
}

const (
	// replaceAfter is how long after the answer to a form what follows it is
	// tried, and tried again.
	replaceAfter = 100 * time.Millisecond
	maxReplaces  = 20
)

// replace shows v in place of the view that the answer to the form in puts
// there. Slack may see v before that answer, which would then take its place.
// As long as the view has the hash that it had, the answer was not there yet.
func (c *Chat) replace(ctx context.Context, in *interaction, v slack.ModalViewRequest) error {
	c.lintView(v)
	id, hash := string(in.View.ID), string(in.View.Hash)
	var err error
	for n := 0; n < maxReplaces && hash != "" && chatkit.Sleep(ctx, replaceAfter); n++ {
		if hash, err = c.updated(ctx, id, hash, v); slackError(err) == "hash_conflict" {
			break
		} else if err != nil {
			return err
		}
	}
	_, err = c.updated(ctx, id, "", v)
	return err
}

// changeForm shows v in place of the form of in. The form may have been
// changed since: then the newest change counts, and it is the one that Slack
// reports last.
func (c *Chat) changeForm(ctx context.Context, in *interaction, v slack.ModalViewRequest) response {
	newest := c.forms.change(string(in.View.ID), string(in.Actions[0].ActionTS))
	err := c.update(ctx, string(in.View.ID), string(in.View.Hash), v)
	if slackError(err) == "hash_conflict" && newest() {
		err = c.update(ctx, string(in.View.ID), "", v)
	}
	if err != nil && slackError(err) != "hash_conflict" && slackError(err) != "not_found" {
		number, _ := in.View.about()
		c.log.Warn("a form was not changed", "ticket", string(number), "actor", string(in.User.ID), "err", err)
	}
	return response{}
}
