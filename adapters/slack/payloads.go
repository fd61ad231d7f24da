package slack

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/tickets"
)

// text is a JSON string, or whatever stands in its place.
type text = jsonx.LooseString

type object struct {
	ID text `json:"id"`
}

// interaction is a click or a submitted form, as much of it as we use.
type interaction struct {
	Type  text `json:"type"`
	AppID text `json:"api_app_id"`
	Team  struct {
		ID         text `json:"id"`
		Enterprise text `json:"enterprise_id"`
	} `json:"team"`
	Enterprise object `json:"enterprise"`
	User       struct {
		ID       text `json:"id"`
		Username text `json:"username"`
		Name     text `json:"name"`
		TeamID   text `json:"team_id"`
	} `json:"user"`
	Container struct {
		MessageTS text `json:"message_ts"`
		ChannelID text `json:"channel_id"`
		Ephemeral bool `json:"is_ephemeral"`
	} `json:"container"`
	Channel     object `json:"channel"`
	TriggerID   text   `json:"trigger_id"`
	ResponseURL text   `json:"response_url"`
	Actions     []struct {
		ActionID text `json:"action_id"`
		BlockID  text `json:"block_id"`
		Value    text `json:"value"`
		Selected struct {
			Value text `json:"value"`
		} `json:"selected_option"`
		ActionTS text `json:"action_ts"`
	} `json:"actions"`
	View view `json:"view"`
}

type view struct {
	Type            text `json:"type"`
	ID              text `json:"id"`
	Hash            text `json:"hash"`
	CallbackID      text `json:"callback_id"`
	PrivateMetadata text `json:"private_metadata"`

	Title  *slack.TextBlockObject `json:"title"`
	Submit *slack.TextBlockObject `json:"submit"`
	Close  *slack.TextBlockObject `json:"close"`
	Blocks json.RawMessage        `json:"blocks"`

	State struct {
		Values map[string]map[string]entry `json:"values"`
	} `json:"state"`
}

// entry is what an input holds.
type entry struct {
	Value    text `json:"value"`
	Selected struct {
		Value text `json:"value"`
	} `json:"selected_option"`
	Several []struct {
		Value text `json:"value"`
	} `json:"selected_options"`
}

// text is what e holds, several as a comma list.
func (e *entry) text() string {
	if e.Value != "" || e.Selected.Value != "" {
		return cmp.Or(string(e.Value), string(e.Selected.Value))
	}
	var all []string
	for _, one := range e.Several {
		all = append(all, string(one.Value))
	}
	return strings.Join(all, ", ")
}

// settings is what the form of the settings holds, by key.
func (v *view) settings() (version int64, values map[string]string, ok bool) {
	version, err := strconv.ParseInt(string(v.PrivateMetadata), 10, 64)
	values = map[string]string{}
	for id, in := range v.State.Values {
		key, of, _ := strings.Cut(id, "@")
		e, shown := in[id]
		if of != string(v.PrivateMetadata) || !shown {
			return 0, nil, false
		}
		values[key] = e.text()
	}
	return version, values, err == nil && len(values) > 0
}

// form is what is typed in v.
func (v *view) form() tickets.Form {
	in := func(f tickets.FormField) entry { return v.State.Values[string(f)][string(f)] }
	return tickets.Form{
		Reason: string(in(tickets.FieldReason).Value),
		Unit:   tickets.Unit(in(tickets.FieldUnit).Selected.Value),
		Amount: string(in(tickets.FieldAmount).Value),
	}
}

// shows reports whether v has the field.
func (v *view) shows(f tickets.FormField) bool {
	_, ok := v.State.Values[string(f)]
	return ok
}

func (in *interaction) channel() string {
	if in.Channel.ID != "" {
		return string(in.Channel.ID)
	}
	return string(in.Container.ChannelID)
}

// inForm reports whether in is a change of a field of a form that is open.
func (in *interaction) inForm() bool { return in.View.ID != "" && in.View.Type != homeTab }

func (in *interaction) place() tickets.Place {
	if ch := in.channel(); ch != "" {
		return tickets.Place{Platform: Platform, Channel: ch}
	}
	return tickets.Place{}
}

func (in *interaction) actor() tickets.Actor {
	name := in.User.Name
	if name == "" {
		name = in.User.Username
	}
	return tickets.Actor{Platform: Platform, ID: string(in.User.ID), Name: string(name)}
}
