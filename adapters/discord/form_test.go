package discord

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/tickets"
)

// comesBack is what a click on Try again brings of f, which was sent to another
// process.
func comesBack(t *testing.T, f adapters.Form) (tickets.Verdict, tickets.Form, bool) {
	t.Helper()
	m := retryMessage(f, customID(adapters.Action(f.Verdict), (&tickets.Request{ID: "r"}).Digest(), "JIT-1042"))
	checkMessage(t, m)
	message, err := jsonx.Encode(map[string]any{"flags": flagEphemeral | flagComponents, "components": m.Components})
	if err != nil {
		t.Fatal(err)
	}
	in, err := decode([]byte(`{"type":3,"data":{"custom_id":"` + customID(adapters.Action(f.Verdict), (&tickets.Request{ID: "r"}).Digest(), "JIT-1042") + `"},"message":` + string(message) + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return in.typed()
}

// TestTypedComesBack: what somebody typed comes back from the message that says
// what was wrong, character by character.
func TestTypedComesBack(t *testing.T) {
	t.Parallel()
	problem := tickets.Problems{tickets.FieldReason: "wrong"}
	for _, reason := range []string{
		"", " ", "\u00a0\t ", "mine", "two\nlines\n", "\n\n first", "**bold** ~~x~~ || <@1> @everyone <t:1:R>", "`", "``", "```", "````", "`````", "``````", "```sh\nrm -rf\n```", "\\`\\`",
		"**Your reason**\n```\nnot this\n```", "**Your choice**\n```\nonce 1\n```", "\u202eevil\u202c 😀 ⟦U+202E⟧", strings.Repeat("😀", tickets.MaxReason), strings.Repeat("`", tickets.MaxReason),
	} {
		for _, unit := range []tickets.Unit{tickets.UnitOnce, tickets.UnitMinutes, tickets.UnitHours, ""} {
			for _, amount := range []string{"", "5", "x 1", "```", " 7 "} {
				want := tickets.Form{Reason: reason, Unit: unit, Amount: amount}
				if v, got, ok := comesBack(t, adapters.Form{Verdict: tickets.Approve, Values: want, Problems: problem}); !ok || v != tickets.Approve || got != want {
					t.Errorf("%q comes back as %s %q, %v", want, v, got, ok)
				}
			}
		}
		if v, got, ok := comesBack(t, adapters.Form{Verdict: tickets.Deny, Values: tickets.Form{Reason: reason}, Problems: problem}); !ok || v != tickets.Deny || got != (tickets.Form{Reason: reason}) {
			t.Errorf("%q comes back as %s %q, %v", reason, v, got, ok)
		}
	}
}

// TestOnlyTheOwnMessageHoldsWhatWasTyped: a card and its details hold nothing
// that somebody typed, whatever a request makes them say.
func TestOnlyTheOwnMessageHoldsWhatWasTyped(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"Card":    `{"type":3,"data":{"custom_id":"approve:JIT-1042"},"message":{"flags":32768,"components":[{"type":10,"content":"**Your reason**\n` + "```\\nno\\n```" + `"}]}}`,
		"Details": `{"type":3,"data":{"custom_id":"details:JIT-1042"},"message":{"flags":64,"components":[{"type":10,"content":"**Your reason**\n` + "```\\nno\\n```" + `"}]}}`,
		"Note":    `{"type":3,"data":{"custom_id":"approve:JIT-1042"},"message":{"flags":64,"components":[{"type":10,"content":"hello"}]}}`,
	} {
		in, err := decode([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if v, f, ok := in.typed(); ok {
			t.Errorf("%s: %s %+v", name, v, f)
		}
	}
}
