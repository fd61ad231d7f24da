package redis_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
)

const pw = "hunter2secret"

func TestAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"redis://h":          "redis://h:6379/0",
		"redis://h:7000/3":   "redis://h:7000/3",
		"redis://[::1]:7000": "redis://[::1]:7000/0",
		"redis://[::1]":      "redis://[::1]:6379/0",
		"rediss://ann:" + pw + "@h?ca=/etc/ca.crt":                              "rediss://h:6379/0",
		"redis://:p%40%2F" + pw + "@h?tenant=acme":                              "redis://h:6379/0?tenant=acme",
		"redis+sentinel://a,b:7?master=m":                                       "redis+sentinel://a:26379,b:7/0?master=m",
		"rediss+sentinel://u:" + pw + "@a,b/2?master=m&sentinel_password=" + pw: "rediss+sentinel://a:26379,b:26379/2?master=m",
		"redis+cluster://a,b,c:7":                                               "redis+cluster://a:6379,b:6379,c:7",
		"rediss+cluster://:" + pw + "@a:1":                                      "rediss+cluster://a:1",
	} {
		if got, err := redis.Address(in); err != nil || got != want {
			t.Errorf("Address(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestMalformedAddressIsNotQuoted(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", pw, "http://:" + pw + "@h", "redis:" + pw, "redis+other://:" + pw + "@h", "redis://:" + pw + "%zz@h", "redis://:" + pw + "#@h",
		"redis://:a/" + pw + "@h", "redis://:a?" + pw + "@h", "redis://:" + pw + "@", "redis://:" + pw + "@h:0", "redis://:" + pw + "@h:99999",
		"redis://:" + pw + "@h:" + pw, "redis://:" + pw + "@h,i", "redis://:" + pw + "@h/" + pw, "redis://:" + pw + "@h?" + pw + "=1", "redis://h?tenant=" + pw + "{}",
		"redis://h?tenant=&x=" + pw, "redis://h?tenant=a&tenant=" + pw, "redis://h?ca=/" + pw, "redis+sentinel://:" + pw + "@h", "redis://h?master=" + pw,
		"redis+cluster://:" + pw + "@h/1", "rediss://:" + pw + "@h?cert=/a", "redis://h?%zz=" + pw, "redis://h h/" + pw, "redis:// " + pw,
	} {
		_, err := redis.Address(in)
		if err == nil || strings.Contains(err.Error(), pw) {
			t.Errorf("Address(%q) = %v; want an error without the password", in, err)
		}
		if _, err := redis.Open(t.Context(), redis.Config{URL: in}); err == nil || strings.Contains(err.Error(), pw) {
			t.Errorf("Open(%q) = %v; want an error without the password", in, err)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := alone(t, redistest.Config{Password: true})
	other := alone(t, redistest.Config{})
	host := "127.0.0.1:1"
	junk := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ url, want string }{
		"NobodyThere":     {"redis://:" + pw + "@" + host, "connection refused"},
		"NoSentinel":      {"redis+sentinel://:" + pw + "@" + host + "?master=m&sentinel_password=" + pw, "connection refused"},
		"NoCluster":       {"redis+cluster://:" + pw + "@" + host, "connection refused"},
		"NotACluster":     {"redis+cluster://" + other.Addr(), "cluster"},
		"NotASentinel":    {"redis+sentinel://" + other.Addr() + "?master=m", ""},
		"WrongPassword":   {"redis://:" + pw + "@" + s.Addr(), "refuses the user or the password"},
		"WrongUser":       {"redis://ann:" + pw + "@" + s.Addr(), "refuses the user or the password"},
		"PasswordMissing": {"redis://" + s.Addr(), "wants a password"},
		"TLSMissing":      {"rediss://:" + pw + "@" + s.Addr(), ""},
		"NoSuchDatabase":  {"redis://" + other.Addr() + "/9999", "DB index"},
		"NoSuchCA":        {"rediss://:" + pw + "@" + s.Addr() + "?ca=/nope/ca.crt", "/nope/ca.crt"},
		"NotACA":          {"rediss://:" + pw + "@" + s.Addr() + "?ca=" + junk, "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := redis.Open(t.Context(), redis.Config{URL: c.url})
			if err == nil {
				_ = st.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), pw) {
				t.Errorf("Open = %v; want an error with %q and without the password", err, c.want)
			}
		})
	}
}

// A server that does not know HELLO or AUTH quotes what it was sent.
func TestServerThatQuotesThePassword(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					_, _ = io.WriteString(c, strings.Repeat("-ERR unknown command 'AUTH', with args beginning with: '"+pw+"'\r\n", 5))
				}
			}()
		}
	}()
	for _, scheme := range []string{"redis://", "redis+cluster://", "redis+sentinel://"} {
		u := scheme + "ann:" + pw + "@" + l.Addr().String()
		if scheme == "redis+sentinel://" {
			u += "?master=m&sentinel_password=" + pw
		}
		if _, err := redis.Open(t.Context(), redis.Config{URL: u}); err == nil || strings.Contains(err.Error(), pw) {
			t.Errorf("Open(%s…) = %v; want an error without the password", scheme, err)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	s := alone(t, redistest.Config{})
	c := s.Client()
	defer c.Close()
	if err := c.Set(t.Context(), "{countersign:new}:schema", "2", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := redis.Open(t.Context(), redis.Config{URL: s.URL("new")}); !errors.Is(err, store.ErrNewerForm) {
		t.Errorf("Open = %v, want ErrNewerForm", err)
	}
}
