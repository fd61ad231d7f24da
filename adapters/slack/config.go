package slack

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/chatkit/ratelimit"
	"github.com/countersign/countersign/adapters/chatkit/signed"
	"github.com/countersign/countersign/adapters/wording"
)

// DefaultAPIURL is Slack's Web API.
const DefaultAPIURL = "https://slack.com/api/"

// Config says which Slack app this is. A bot token is needed, and an app
// token or a signing secret to hear what people do.
type Config struct {
	BotToken       string   // bot token, xoxb-…; required
	AppToken       string   // app-level token, xapp-…, which switches Socket Mode on; default none
	SigningSecrets []string // secrets that sign requests over HTTP: the current one and, while rotating, the previous; default none
	APIURL         string   // address of the Web API, for GovSlack and tests; default DefaultAPIURL

	// Current are the three secrets at present, asked whenever one is needed,
	// for ones that change while the chat works. Whether there is an app token
	// or a signing secret does not change. Default those above.
	Current func() Secrets

	AppID string   // id of the app, A…, that requests must name; default what Slack tells
	Teams []string // ids of further workspaces whose people may act, for an organisation with several; default only the bot's own

	Transport http.RoundTripper // makes the calls, for metrics; default http.DefaultTransport
	Timeout   time.Duration     // of one call; default 10 s
	Pace      Pace              // how fast Slack is called; default as in Pace
	Limiter   ratelimit.Limiter // where several processes count their calls together; default none, this process is alone
	// Connections is where several processes count their connections of Socket
	// Mode together; default none, this process is alone.
	Connections Connections
	// Foreign records how many connections the app has that are not of this
	// installation, whenever that is found to be different; default not.
	Foreign func(ctx context.Context, n int) error
	// Compare is how long after a connection showed foreign ones it is replaced:
	// only a new one tells how many there are. Default 5 min.
	Compare time.Duration

	Workers int // deliveries worked on at once in Socket Mode; default 32
	// AnswerTime is how long Slack waits for an answer to what somebody did;
	// default [chatkit.AnswerTime]. Tests have slower machines.
	AnswerTime time.Duration
	Drain      time.Duration // what commands under way get when Run is told to end; default 6 s

	Refused func(signed.Reason) // is told of each signed request that is refused; default nothing

	Card func() wording.Card // what the settings say about cards, asked for each; default the zero Card
	Log  *slog.Logger        // default slog.Default()
	Now  func() time.Time    // dates what is remembered; default time.Now
}

// String keeps the tokens out of logs.
func (Config) String() string { return "[slack config]" }

// GoString keeps the tokens out of %#v.
func (Config) GoString() string { return "[slack config]" }

// LogValue keeps the tokens out of slog.
func (Config) LogValue() slog.Value { return slog.StringValue("[slack config]") }

// check says what is wrong with cfg, and returns the address of the Web API.
func (cfg *Config) check() (*url.URL, error) {
	var wrong []error
	switch {
	case cfg.BotToken == "":
		wrong = append(wrong, errors.New("the bot token is missing"))
	case MsgRotating(cfg.BotToken) != "":
		wrong = append(wrong, errors.New("the bot token "+MsgRotating(cfg.BotToken)))
	case strings.HasPrefix(cfg.BotToken, "xapp-"):
		wrong = append(wrong, errors.New("the bot token is an app-level token; the bot token begins with xoxb-"))
	}
	if cfg.AppToken != "" && strings.HasPrefix(cfg.AppToken, "xox") {
		wrong = append(wrong, errors.New("the app token is another kind of token; an app-level token begins with xapp-"))
	}
	var secrets []string
	for _, s := range cfg.SigningSecrets {
		if s != "" {
			secrets = append(secrets, s)
		}
	}
	cfg.SigningSecrets = secrets
	if cfg.AppToken == "" && len(secrets) == 0 {
		wrong = append(wrong, errors.New("an app token (Socket Mode) or a signing secret (HTTP) is needed"))
	}
	if cfg.APIURL == "" {
		cfg.APIURL = DefaultAPIURL
	}
	if !strings.HasSuffix(cfg.APIURL, "/") {
		cfg.APIURL += "/"
	}
	base, err := neterr.BaseURL(cfg.APIURL)
	return base, errors.Join(append(wrong, err)...)
}

// setDefaults fills in what is not set.
func (cfg *Config) setDefaults() {
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Compare <= 0 {
		cfg.Compare = 5 * time.Minute
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 32
	}
	if cfg.Drain <= 0 {
		cfg.Drain = 6 * time.Second
	}
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
