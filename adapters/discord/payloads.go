package discord

import (
	"encoding/json"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/tickets"
)

// The types of interactions.
const (
	typePing     = 1
	typeCommand  = 2
	typeClick    = 3
	typeComplete = 4
	typeSubmit   = 5
)

// interaction is whatever a person did, as much of it as we use.
type interaction struct {
	ID            jsonx.LooseString `json:"id"`
	ApplicationID jsonx.LooseString `json:"application_id"`
	Type          int               `json:"type"`
	Token         jsonx.LooseString `json:"token"`
	GuildID       jsonx.LooseString `json:"guild_id"`
	ChannelID     jsonx.LooseString `json:"channel_id"`
	Member        member            `json:"member"`
	Message       struct {
		Flags      int             `json:"flags"`
		Components json.RawMessage `json:"components"`
	} `json:"message"`
	Data json.RawMessage `json:"data"`
}

// member is a person in the server.
type member struct {
	Nick  jsonx.LooseString   `json:"nick"`
	Roles []jsonx.LooseString `json:"roles"`
	User  user                `json:"user"`
}

// names are what m is called, the name in the server first.
func (m *member) names() []string {
	var list []string
	for _, name := range []jsonx.LooseString{m.Nick, m.User.GlobalName, m.User.Username} {
		if name != "" {
			list = append(list, string(name))
		}
	}
	return list
}

type user struct {
	ID         jsonx.LooseString `json:"id"`
	Username   jsonx.LooseString `json:"username"`
	GlobalName jsonx.LooseString `json:"global_name"`
}

func (in *interaction) actor() tickets.Actor {
	a := tickets.Actor{Platform: Platform, ID: string(in.Member.User.ID)}
	if names := in.Member.names(); len(names) > 0 {
		a.Name = names[0]
	}
	return a
}

// delivery names what the person did: Discord gives each its own id, which it
// signs.
func (in *interaction) delivery() adapters.Delivery { return adapters.Delivery(in.ID) }

func (in *interaction) place() tickets.Place {
	if in.ChannelID == "" {
		return tickets.Place{}
	}
	return tickets.Place{Platform: Platform, Channel: string(in.ChannelID)}
}

// private reports whether the interaction is about a message that only this
// person sees: a form that had a mistake.
func (in *interaction) private() bool { return in.Message.Flags&flagEphemeral != 0 }

// decode reads an interaction from either way in. It fails only if it is no
// JSON.
func decode(raw []byte) (*interaction, error) {
	var in interaction
	if err := jsonx.IgnoreTypeErrors(json.Unmarshal(raw, &in)); err != nil {
		return nil, err
	}
	return &in, nil
}

// customIDOf is what was clicked or sent.
func (in *interaction) customID() string {
	var data component
	_ = json.Unmarshal(in.Data, &data) // what cannot be read is not offered by us
	return string(data.CustomID)
}

// chosen is the one value that was chosen from a menu, or empty.
func (in *interaction) chosen() tickets.State {
	var data struct {
		Values []jsonx.LooseString `json:"values"`
	}
	_ = json.Unmarshal(in.Data, &data) // what cannot be read is not offered by us
	if len(data.Values) != 1 {
		return ""
	}
	return tickets.State(data.Values[0])
}

// form is what is typed in a submitted form.
func (in *interaction) form() tickets.Form {
	var f tickets.Form
	eachComponent(in.Data, func(c *component) {
		var value jsonx.LooseString
		_ = json.Unmarshal(c.Value, &value) // never fails; none is empty
		switch tickets.FormField(c.CustomID) {
		case tickets.FieldReason:
			f.Reason = string(value)
		case tickets.FieldUnit:
			f.Unit = tickets.Unit(value)
		case tickets.FieldAmount:
			f.Amount = string(value)
		}
	})
	return f
}
