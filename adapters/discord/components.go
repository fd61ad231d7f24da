package discord

import (
	"encoding/json"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
)

// The flags of a message
// (discord.com/developers/docs/resources/message#message-object-message-flags).
const (
	flagEphemeral  = 1 << 6
	flagComponents = 1 << 15 // of the second version; cannot be taken back
)

// mentioning says whom a message may notify. Parse is never nil: without it
// everybody whom the text names would be notified.
type mentioning struct {
	Parse []string `json:"parse"`
	Users []string `json:"users,omitempty"`
	Roles []string `json:"roles,omitempty"`
}

// nobody is notified.
func nobody() mentioning { return mentioning{Parse: []string{}} }

// The types of components
// (discord.com/developers/docs/components/reference#component-object-component-types).
const (
	typeRow       = 1
	typeButton    = 2
	typeSelect    = 3
	typeInput     = 4
	typeText      = 10
	typeGallery   = 12
	typeSeparator = 14
	typeContainer = 17
	typeLabel     = 18
	typeRadio     = 21
)

// gallery shows pictures.
type gallery struct {
	Type  int           `json:"type"`
	Items []galleryItem `json:"items"`
}

type galleryItem struct {
	Media struct {
		URL string `json:"url"`
	} `json:"media"`
	Description string `json:"description,omitempty"`
}

// attachment is a file that goes beside a message, by its place among them
// (discord.com/developers/docs/reference#uploading-files).
type attachment struct {
	ID          string `json:"id"` // a number
	Name        string `json:"filename"`
	Description string `json:"description,omitempty"`
}

// pictureName is what a picture is called, in the message and if it is kept.
const pictureName = "report.png"

type container struct {
	Type       int   `json:"type"`
	ID         int   `json:"id,omitempty"`
	Color      int   `json:"accent_color"`
	Components []any `json:"components"`
}

type textDisplay struct {
	Type    int    `json:"type"`
	ID      int    `json:"id,omitempty"`
	Content string `json:"content"`
}

type separator struct {
	Type int `json:"type"`
}

type actionRow struct {
	Type       int   `json:"type"`
	Components []any `json:"components"`
}

type button struct {
	Type     int    `json:"type"`
	Style    int    `json:"style"`
	Label    string `json:"label"`
	CustomID string `json:"custom_id"`
}

type selectMenu struct {
	Type        int      `json:"type"`
	CustomID    string   `json:"custom_id"`
	Placeholder string   `json:"placeholder"`
	Options     []option `json:"options"`
}

// The styles of buttons.
const (
	stylePrimary   = 1
	styleSecondary = 2
	styleSuccess   = 3
	styleDanger    = 4
)

// component is any component, as far as it is read.
type component struct {
	Type       int               `json:"type"`
	ID         int               `json:"id"`
	CustomID   jsonx.LooseString `json:"custom_id"`
	Label      jsonx.LooseString `json:"label"`
	Content    jsonx.LooseString `json:"content"`
	Value      json.RawMessage   `json:"value"`
	Components json.RawMessage   `json:"components"`
	Component  json.RawMessage   `json:"component"`
	Accessory  json.RawMessage   `json:"accessory"`
}

// eachComponent visits every component in raw, which is a list or one, outer
// ones first. Types that nobody knows yet are visited like the others.
func eachComponent(raw json.RawMessage, visit func(*component)) {
	walk(raw, maxDepth, visit)
}

// maxDepth is how deep components are looked into: Discord nests three.
const maxDepth = 8

func walk(raw json.RawMessage, depth int, visit func(*component)) {
	if len(raw) == 0 || depth == 0 {
		return
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		for _, one := range list {
			walk(one, depth-1, visit)
		}
		return
	}
	var c component
	if jsonx.IgnoreTypeErrors(json.Unmarshal(raw, &c)) != nil {
		return
	}
	visit(&c)
	for _, inner := range []json.RawMessage{c.Components, c.Component, c.Accessory} {
		walk(inner, depth-1, visit)
	}
}
