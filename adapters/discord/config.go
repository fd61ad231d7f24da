package discord

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/chatkit/signed"
	"github.com/countersign/countersign/adapters/wording"
)

// DefaultAPIURL is where Discord's API is.
const DefaultAPIURL = "https://discord.com"

// Config says which Discord application this is, and whose server it serves.
type Config struct {
	BotToken      string // token of the application's bot; required
	ApplicationID string // id of the application; required
	Guild         string // id of the server whose members may act; required
	PublicKey     string // 64 hexadecimal digits with which Discord signs; needed for HTTP; default none
	HTTP          bool   // interactions come over signed HTTP instead of the gateway; default false
	APIURL        string // replaces scheme and host of every call, for tests; default DefaultAPIURL
	PublicURL     string // where Discord reaches the bot, without a slash at its end; only Check uses it; default unknown

	// Current is the token at present, asked whenever it is needed, for one
	// that changes while the chat works. Default BotToken.
	Current func() string

	Transport http.RoundTripper // makes the calls, for metrics; default http.DefaultTransport
	Timeout   time.Duration     // of one call; default 10 s
	Pace      Pace              // how fast Discord is called; default as in Pace
	Gateway   Gateway           // patience with the gateway; default as in Gateway
	Workers   int               // interactions worked on at once from the gateway; default 64
	// AnswerTime is how long Discord waits for an answer to what somebody did;
	// default [chatkit.AnswerTime]. Tests have slower machines.
	AnswerTime time.Duration
	Drain      time.Duration // what commands under way get when Run is told to end; default 6 s
	Peers      Peers         // the other processes that serve this application; default none, this process is alone
	NonceTrust time.Duration // how long Discord surely knows a nonce; default 1 min

	Refused func(signed.Reason) // is told of each signed request that is refused; default nothing

	Card func() wording.Card // what the settings say about cards, asked for each; default the zero Card
	Log  *slog.Logger        // default slog.Default()
	Now  func() time.Time    // dates what is remembered; default time.Now
}

// String keeps the token out of logs.
func (Config) String() string { return "[discord config]" }

// GoString keeps the token out of %#v.
func (Config) GoString() string { return "[discord config]" }

// LogValue keeps the token out of slog.
func (Config) LogValue() slog.Value { return slog.StringValue("[discord config]") }

// check says what is wrong with cfg, and returns the address of the API and the
// key with which Discord signs, which may be empty.
func (cfg *Config) check() (base *url.URL, key ed25519.PublicKey, err error) {
	var wrong []error
	need := func(ok bool, say string) {
		if !ok {
			wrong = append(wrong, errors.New(say))
		}
	}
	need(cfg.BotToken != "", "the bot token is missing")
	need(!strings.HasPrefix(cfg.BotToken, "Bot "), `the bot token must stand without the word "Bot"`)
	need(IsID(cfg.ApplicationID), "the application id must be a number of 17 to 20 digits")
	need(IsID(cfg.Guild), "the server (guild) id must be a number of 17 to 20 digits")
	key, err = hex.DecodeString(cfg.PublicKey)
	need(err == nil && (len(key) == ed25519.PublicKeySize || len(key) == 0), "the public key must be 64 hexadecimal digits")
	need(!cfg.HTTP || len(key) > 0, "interactions over HTTP need the application's public key")
	if cfg.APIURL == "" {
		cfg.APIURL = DefaultAPIURL
	}
	base, err = neterr.BaseURL(cfg.APIURL)
	return base, key, errors.Join(append(wrong, err)...)
}

// setDefaults fills in what is not set.
func (cfg *Config) setDefaults() {
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 64
	}
	if cfg.NonceTrust <= 0 {
		cfg.NonceTrust = time.Minute
	}
	if cfg.Drain <= 0 {
		cfg.Drain = 6 * time.Second
	}
	cfg.Gateway = cfg.Gateway.withDefaults()
	if cfg.Card == nil {
		cfg.Card = func() wording.Card { return wording.Card{} }
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}
