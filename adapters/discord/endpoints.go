package discord

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/chatkit/signed"
)

// interactionsPath is where Discord sends signed interactions.
const interactionsPath = "/discord/interactions"

// Endpoints are the signed paths. There are none in gateway mode: Discord
// sends to one of the two.
func (c *Chat) Endpoints(h adapters.Handler) map[string]http.Handler {
	if !c.cfg.HTTP {
		return nil
	}
	return map[string]http.Handler{interactionsPath: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.receive(w, r, h) })}
}

// receive answers a signed delivery.
func (c *Chat) receive(w http.ResponseWriter, r *http.Request, h adapters.Handler) {
	received := time.Now()
	fail := func(status int) { http.Error(w, http.StatusText(status), status) }
	body, ok := c.requests.Read(w, r)
	if !ok {
		return
	}
	in, err := decode(body)
	if err != nil {
		c.log.Warn("a signed request was not understood", "err", neterr.Describe(err))
		fail(http.StatusBadRequest)
		return
	}
	if in.Type == typePing {
		c.answer(w, answer{Type: answerPong})
		return
	}
	c.work.Begin()
	defer c.work.End()
	// Discord hanging up does not undo what a person did.
	ctx := context.WithoutCancel(r.Context())
	think, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	var first response
	s, again := c.seen.Once(think, string(in.ID), func() response {
		if !c.claimInteraction(think, string(in.ID), received) {
			return response{} // somebody sends again what another replica has answered
		}
		first = c.interact(think, received, in, h)
		return response{ack: first.ack} // what follows is not said twice
	})
	if again {
		c.log.Warn("a signed request came twice")
	}
	if s.ack.Type == 0 { // the first one is still at work
		fail(http.StatusServiceUnavailable)
		return
	}
	taken := c.answer(w, s.ack)
	if first.deferred == nil && (!taken || len(first.followUps) == 0) {
		return
	}
	// The answer, and what comes next over this connection, must not wait for
	// what follows.
	c.work.Begin()
	go func() {
		defer c.work.End()
		c.follow(ctx, in, first)
	}()
}

// answer writes a, and reports whether it could.
func (c *Chat) answer(w http.ResponseWriter, a answer) bool {
	out, err := jsonx.Encode(a)
	if err != nil {
		c.log.Error("an answer cannot be written", "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	_, err = w.Write(out)
	return err == nil
}

// The headers of a signed request
// (discord.com/developers/docs/interactions/overview#setting-up-an-endpoint).
const (
	stampHeader     = "X-Signature-Timestamp"
	signatureHeader = "X-Signature-Ed25519"
)

var signatureShape = regexp.MustCompile(`^[0-9a-fA-F]{128}$`)

// stamp is when a request with such headers was signed.
func stamp(h http.Header) (seconds int64, ok bool) {
	seconds, err := strconv.ParseInt(strings.TrimSpace(h.Get(stampHeader)), 10, 64)
	return seconds, err == nil && signatureShape.MatchString(h.Get(signatureHeader))
}

// verify says why body was not signed by Discord.
func (c *Chat) verify(h http.Header, body []byte) signed.Reason {
	if !discordgo.VerifyInteraction(&http.Request{Header: h, Body: io.NopCloser(bytes.NewReader(body))}, c.key) {
		return signed.Signature
	}
	return ""
}
