package check

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/countersign/countersign/store/redis/redistest"
)

var composeDir = filepath.Join(root, "deploy", "compose")

// compose reads files as `docker compose` does, in a folder that was set up
// as docs/maintenance.md says.
func compose(t testing.TB, files ...string) *types.Project {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for _, f := range files {
		paths = append(paths, filepath.Join(dir, f))
		write(t, paths[len(paths)-1], read(t, composeDir, f))
	}
	write(t, filepath.Join(dir, "countersign.env"), read(t, composeDir, "countersign.env.example"))
	options, err := cli.NewProjectOptions(paths, cli.WithWorkingDirectory(dir), cli.WithResolvedPaths(true), cli.WithInterpolation(true), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// overlays are the ways to combine the compose files.
var overlays = map[string][]string{
	"Slack":   {"compose.yaml", "compose.slack.yaml"},
	"Discord": {"compose.yaml", "compose.discord.yaml"},
	"Both":    {"compose.yaml", "compose.slack.yaml", "compose.discord.yaml"},
}

func TestCompose(t *testing.T) {
	known := variables(t)
	for name, files := range overlays {
		t.Run(name, func(t *testing.T) {
			p := compose(t, files...)
			img := theImage(t)
			for _, s := range p.Services {
				if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || len(s.CapAdd) > 0 || s.Privileged {
					t.Errorf("%s is not locked in: read_only, cap_drop ALL and no-new-privileges are wanted", s.Name)
				}
				if uid, _, err := ids(s.User); err != nil || uid == 0 {
					t.Errorf("%s runs as %q, want a number that is not root's", s.Name, s.User)
				}
				if s.HealthCheck == nil || s.Restart != "unless-stopped" {
					t.Errorf("%s has no health check or does not start again", s.Name)
				}
				if _, tag, ok := strings.Cut(s.Image, ":"); !ok || tag == "latest" {
					t.Errorf("%s: the image %s is another one tomorrow", s.Name, s.Image)
				}
				for _, secret := range s.Secrets {
					if p.Secrets[secret.Source].File == "" {
						t.Errorf("%s: the secret %s is not a file", s.Name, secret.Source)
					}
				}
				for name, value := range s.Environment {
					plain, isFile := strings.CutSuffix(strings.TrimPrefix(name, "COUNTERSIGN_"), "_FILE")
					if known[plain] && !(isFile && strings.HasPrefix(*value, "/run/secrets/")) {
						t.Errorf("%s: %s is a secret and no file", s.Name, name)
					}
				}
			}
			bot := p.Services["countersign"]
			if got, want := bot.User, "65532:65532"; got != want || img.user.Uid != 65532 {
				t.Errorf("it runs as %s, the image as %d", got, img.user.Uid)
			}
			if !slices.Equal(bot.HealthCheck.Test, slices.Concat([]string{"CMD"}, img.health)) {
				t.Errorf("the health check is %v, that of the image %v", bot.HealthCheck.Test, img.health)
			}
			for _, port := range bot.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("port %s is open to everybody without TLS", port.Published)
				}
			}
			redis := p.Services["redis"]
			if len(redis.Ports) > 0 || len(redis.Networks) != 1 || !bool(p.Networks["inside"].Internal) {
				t.Error("Redis can be reached from outside")
			}
			if len(redis.Volumes) != 1 || redis.Volumes[0].Type != types.VolumeTypeVolume || redis.Volumes[0].Target != "/data" {
				t.Errorf("the volumes of Redis are %v, want one for /data", redis.Volumes)
			}
		})
	}
}

// A misspelled key is found: the schema is in force.
func TestComposeRefusesWhatItDoesNotKnow(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "compose.yaml")
	write(t, path, bytes.Replace(read(t, composeDir, "compose.yaml"), []byte("read_only: true"), []byte("readonly: true"), 1))
	write(t, filepath.Join(dir, "countersign.env"), nil)
	options, err := cli.NewProjectOptions([]string{path}, cli.WithWorkingDirectory(dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := options.LoadProject(t.Context()); err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("LoadProject = %v, want that it does not know readonly", err)
	}
}

// composed is the program as the compose files run it, with a real Redis that
// was started by their command and has the users of redis_acl.example.
func composed(w *world) *bot {
	t := w.TB
	t.Helper()
	if _, err := redistest.Find(); err != nil {
		leaveOut(t, err.Error())
	}
	p := compose(t, overlays["Both"]...)
	const password = "redis-secret-1"
	acl := filepath.Join(t.TempDir(), "acl")
	write(t, acl, bytes.ReplaceAll(read(t, composeDir, "redis_acl.example"), []byte("PASSWORD"), []byte(password)))

	command := slices.Clone(p.Services["redis"].Command)
	if command[0] != "redis-server" {
		t.Fatalf("Redis is started by %v", command)
	}
	command = command[1:]
	at := slices.Index(command, "--dir")
	command = slices.Delete(command, at, at+2) // the test's own
	command[slices.Index(command, "--aclfile")+1] = acl
	server, err := redistest.Start(redistest.Config{Dir: t.TempDir(), Args: command})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)

	bot := p.Services["countersign"]
	env, files := map[string]string{}, map[string]string{}
	for name, value := range bot.Environment {
		env[name] = *value
	}
	for _, s := range bot.Secrets {
		target := s.Target
		if !strings.HasPrefix(target, "/") {
			target = "/run/secrets/" + s.Source
		}
		content, known := secrets[strings.ToUpper(s.Source)]
		if s.Source == "store" {
			u := url.URL{Scheme: "redis", User: url.UserPassword("countersign", password), Host: server.Addr(), Path: "/0"}
			content, known = u.String(), true
		}
		if !known {
			t.Fatalf("the compose files have a secret %s that this test does not know", s.Source)
		}
		files[target] = content + "\n"
	}
	return w.runs(theImage(t), env, files)
}

func TestComposeRuns(t *testing.T) {
	b := composed(newWorld(t))
	b.decides()
	b.healthy(compose(t, overlays["Both"]...).Services["countersign"].HealthCheck.Test[1:])
	// Among them would be what is missing for a Redis to keep what it
	// acknowledges.
	if found := b.warned(); len(found) > 0 {
		t.Errorf("it warns of %q", found)
	}
	out, err := b.command([]string{b.image.entrypoint[0], "doctor"}).Output()
	if err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}

// variables are those of docs/configuration.md, which a test of the program
// compares with the program; true for a secret.
func variables(t testing.TB) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| ((?:`[A-Z_]+`(?:, )?)+)( 🔒)? \\|").FindAllStringSubmatch(string(read(t, root, "docs", "configuration.md")), -1) {
		for _, name := range regexp.MustCompile(`[A-Z_]+`).FindAllString(m[1], -1) {
			all[name] = m[2] != ""
		}
	}
	if len(all) < 30 {
		t.Fatalf("docs/configuration.md lists %d variables: this test does not understand it", len(all))
	}
	return all
}

// Whatever the examples in deploy/ set, the program knows.
func TestExamplesNameVariables(t *testing.T) {
	known := variables(t)
	for _, file := range []string{"compose/countersign.env.example", "compose/compose.yaml", "compose/compose.slack.yaml", "compose/compose.discord.yaml", "systemd/countersign.env.example"} {
		for _, name := range regexp.MustCompile(`COUNTERSIGN_[A-Z_]+`).FindAllString(string(read(t, root, "deploy", file)), -1) {
			plain := strings.TrimSuffix(strings.TrimPrefix(name, "COUNTERSIGN_"), "_FILE")
			if plain == "IMAGE" { // of the compose file itself
				continue
			}
			if secret, ok := known[plain]; !ok || (strings.HasSuffix(name, "_FILE") && !secret) {
				t.Errorf("%s: there is no variable %s", file, name)
			}
		}
	}
}
