package discord_test

import (
	"testing"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/tickets"
)

// TestSees: what is shown in a channel is for whoever types in it.
func TestSees(t *testing.T) {
	t.Parallel()
	w := begin(t, "gateway", adaptertest.NewBook(), nil)
	other := tickets.Place{Platform: discord.Platform, Channel: "200000000000000099"}
	for _, tt := range []struct {
		name      string
		by        tickets.Actor
		in, place tickets.Place
		want      bool
	}{
		{"Here", w.Actor(0), w.Place(), w.Place(), true},
		{"Elsewhere", w.Actor(0), other, w.Place(), false},
		{"Nowhere", w.Actor(0), tickets.Place{}, w.Place(), false},
		{"NowhereIsNoPlace", w.Actor(0), tickets.Place{}, tickets.Place{}, false},
		{"AnotherChat", tickets.Actor{Platform: "slack", ID: userOf(0)}, w.Place(), w.Place(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := w.chat.Sees(t.Context(), tt.by, tt.in, tt.place); got != tt.want || err != nil {
				t.Errorf("Sees = %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}
